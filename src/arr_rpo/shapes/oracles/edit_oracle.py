"""The exact oracle of edits: was the edit made, and did everything else stay, to the pixel. No judge sees it.

A rubric asks for kinds and cells. This oracle also measures: where and how large the other objects are, their colour, and the
paper between. The tolerances are in pixels of a 32x32 picture and in levels of 0..255. They let the embedded policy's VAE
through with room for the noise of a sampler: of 600 true targets, encoded and decoded, 99.5 % are strict (in the other three
the VAE made another shape), and the measures lie where said below. They stop all that moved by 2 pixels or more, and paper
that is 7 levels darker. `tests/shapes/oracles/test_edit_oracle.py` measures again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image
from scipy import ndimage

from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.oracles.detection import Found
from arr_rpo.shapes.world.edits import INSTRUCTION, Edit, edit_questions, from_metadata, others
from arr_rpo.shapes.world.questions import cell_of
from arr_rpo.shapes.world.scene import Scene
from arr_rpo.shapes.world.vocabulary import BACKGROUND, CELL_SIZE, CELLS
from arr_rpo.types import Prompt

MAX_SHIFT = 1.5  # pixels between an object's centroids; reconstructions: 0.58 at most
MAX_AREA_RATIO = 1.35  # either way; reconstructions: 1.20 at most
MAX_INK_CHANGE = 15.0  # levels between the mean colours of an object's inside; reconstructions: 12 at most
MAX_PAPER_CHANGE = 6.0  # levels, mean over the paper of a cell; reconstructions: 4.1 at most
EDGE = 2  # pixels around ink that are no paper: the edge is anti-aliased, and a VAE blurs it
FEW = 8  # pixels of paper in a cell below which their mean says little


@dataclass(frozen=True)
class EditResult:
    """instruction: the edit was made, and what it removes left no trace. objects: every other object is there, of its kind, in
    its place, size and look. extras: nothing else is there. background: the paper between is the source's.

    paper_change: the largest mean absolute difference over a cell's paper, in levels of 0..255.
    """

    instruction: bool
    objects: bool
    extras: bool
    background: bool
    paper_change: float

    @property
    def preservation(self) -> bool:
        """All that the instruction does not touch stayed; so it is where nothing was done."""
        return self.objects and self.extras and self.background

    @property
    def strict(self) -> bool:
        """The edit, and nothing but the edit."""
        return self.instruction and self.preservation


def judge_edit(source_picture: Image, candidate_picture: Image, source: Scene, edit: Edit) -> EditResult:
    """What came of an edit. A candidate of another size is scaled to that of the source picture (32x32) first."""
    if candidate_picture.size != source_picture.size:
        candidate_picture = candidate_picture.resize(source_picture.size)
    found, before = detection.detect(candidate_picture), detection.detect(source_picture)
    old, new = (np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in (source_picture, candidate_picture))
    change = np.abs(new - old).mean(-1)
    old_ink, new_ink = detection.segment(source_picture) >= 0, detection.segment(candidate_picture) >= 0
    both, touched = old_ink & new_ink, _cells({edit.cell, edit.to_cell})
    made = all(question.answer(found) for name, question in edit_questions(edit, source) if name == INSTRUCTION)
    paper = ~_grown(old_ink | new_ink & touched, EDGE)
    paper_change = _worst_cell(change, paper)
    stay = {cell_of(thing): (thing.color, thing.shape) for thing in others(edit, source)}
    in_place = [_in_place(kind, _inside(before, cell), _inside(found, cell)) for cell, kind in stay.items()]
    return EditResult(
        instruction=made and _cleared(new, old_ink & touched & ~_grown(new_ink & touched, EDGE)),
        objects=all(in_place) and all(_ink_change(old, new, both & _cells({cell})) <= MAX_INK_CHANGE for cell in stay),
        extras=not _unaccounted(found, {*stay, edit.cell, edit.to_cell}),
        background=paper_change <= MAX_PAPER_CHANGE,
        paper_change=paper_change,
    )


def judge_prompt(prompt: Prompt, candidate: Image) -> EditResult:
    """What came of a prompt with a source and the metadata of an edit (`edits.to_metadata`)."""
    assert prompt.source is not None
    return judge_edit(prompt.source, candidate, *from_metadata(prompt.metadata))


def _inside(found: Sequence[Found], cell: int) -> list[Found]:
    return [f for f in found if cell_of(f) == cell]


def _in_place(kind: tuple[str, str], before: Sequence[Found], now: Sequence[Found]) -> bool:
    """Whether the one object of a cell is there as it was."""
    if len(before) != 1 or len(now) != 1 or (now[0].color, now[0].shape) != kind:
        return False
    shift = np.hypot(now[0].x - before[0].x, now[0].y - before[0].y)
    ratio = now[0].area / before[0].area
    return bool(shift <= MAX_SHIFT and 1 / MAX_AREA_RATIO <= ratio <= MAX_AREA_RATIO)


def _ink_change(old: np.ndarray, new: np.ndarray, ink: np.ndarray) -> float:
    """Mean over the channels of how far an object's mean colour went. ink: (H, W), what both pictures show of it; a shift shows
    at its edge, which is left out."""
    if not ink.any():
        return float("inf")
    inside = ndimage.binary_erosion(ink)
    where = inside if inside.sum() >= FEW else ink
    return float(np.abs(new[where].mean(0) - old[where].mean(0)).mean())


def _unaccounted(found: Sequence[Found], cells: set[int]) -> list[Found]:
    """Objects outside the cells that hold what stays or what the edit touches, and second ones in a cell. What stands in a cell
    that the edit touches is the instruction's business."""
    seen: set[int] = set()
    extra = []
    for f in found:
        if cell_of(f) in seen or cell_of(f) not in cells:
            extra.append(f)
        seen.add(cell_of(f))
    return extra


def _cleared(new: np.ndarray, region: np.ndarray) -> bool:
    """Whether the paper shows where an object was taken away. (H, W, 3) levels, (H, W) mask."""
    if region.sum() < FEW:
        return True
    return float(np.abs(new[region] - np.array(BACKGROUND)).mean()) <= MAX_PAPER_CHANGE


def _worst_cell(change: np.ndarray, paper: np.ndarray) -> float:
    """Mean change over the paper of each cell, the largest; of a faint smudge the mean over all the paper would say little."""
    parts = [paper & _cells({cell}) for cell in range(len(CELLS))]
    return max((float(change[part].mean()) for part in parts if part.sum() >= FEW), default=0.0)


def _cells(cells: set[int]) -> np.ndarray:
    """(H, W) mask of some cells."""
    mask = np.zeros((2 * CELL_SIZE, 2 * CELL_SIZE), dtype=bool)
    for row, column in (divmod(cell, 2) for cell in cells):
        mask[row * CELL_SIZE : (row + 1) * CELL_SIZE, column * CELL_SIZE : (column + 1) * CELL_SIZE] = True
    return mask


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=pixels))
