"""The exact geometric oracle: which shapes of which colours stand where. No judge sees it.

Segmentation by colour, connected components, and shape by matching the component's mask, scaled to a
fixed size, against drawn templates. The questions asked of it are GenEval's (arXiv 2310.11513): object, colour, count,
position, and, stricter than GenEval, nothing extra.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from arr_rpo.shapes.world.scene import Thing, draw
from arr_rpo.shapes.world.vocabulary import BACKGROUND, COLOURS, IMAGE_SIZE, SHAPES

MIN_AREA = 10  # pixels; smaller specks are not objects
MATCH_SIZE = 12  # side of the grid on which masks are compared
MIN_MATCH = 0.65  # intersection over union below which a component is no known shape

_BACKGROUND = np.array(BACKGROUND, dtype=np.float32)
_INK = np.array(list(COLOURS.values()), dtype=np.float32) - _BACKGROUND  # (colours, 3): from paper to ink
_NAMES = list(COLOURS)


@dataclass(frozen=True)
class Found:
    """A detected object: centroid in pixels, area in pixels, and how well its mask fits the shape (IoU)."""

    color: str
    shape: str  # "blob" where no known shape fits
    x: float
    y: float
    area: int
    match: float


def detect(image: Image.Image) -> tuple[Found, ...]:
    """All objects of a picture, of any size; larger than `MIN_AREA` pixels, in reading order of their cells."""
    labels = segment(image)
    found = [
        component
        for index, color in enumerate(_NAMES)
        if (labels == index).sum() >= MIN_AREA
        for component in _components(labels == index, color)
    ]
    return tuple(sorted(found, key=lambda f: (f.y > labels.shape[0] / 2, f.x)))


def segment(image: Image.Image) -> np.ndarray:
    """(H, W) index of the colour of each pixel, -1 for the background.

    An anti-aliased edge pixel is paper + a * ink: a pixel takes the colour whose ink points its way, and counts as drawn
    from a = 1/2 on. (The nearest palette colour would call the pale edge of one colour another colour.)
    """
    delta = np.asarray(image.convert("RGB"), dtype=np.float32) - _BACKGROUND
    along = delta @ _INK.T  # (H, W, colours)
    lengths = np.linalg.norm(_INK, axis=1)
    color = (along / lengths).argmax(-1)
    amount = np.take_along_axis(along / lengths**2, color[..., None], -1)[..., 0]
    return np.where(amount >= 0.5, color, -1)


def _components(mask: np.ndarray, color: str) -> list[Found]:
    numbered, _ = ndimage.label(mask)
    found = []
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        part = numbered[box] == number
        area = int(part.sum())
        if area < MIN_AREA:
            continue
        rows, columns = np.nonzero(part)
        shape, match = _nearest_shape(part)
        x, y = columns.mean() + box[1].start + 0.5, rows.mean() + box[0].start + 0.5
        found.append(Found(color, shape, float(x), float(y), area, match))
    return found


def _nearest_shape(part: np.ndarray) -> tuple[str, float]:
    scaled = _rescale(part)
    scores = {shape: max(_iou(scaled, t) for t in templates) for shape, templates in _templates().items()}
    shape = max(scores, key=lambda s: scores[s])
    return (shape if scores[shape] >= MIN_MATCH else "blob"), scores[shape]


def _rescale(part: np.ndarray) -> np.ndarray:
    """The mask's bounding box stretched to MATCH_SIZE x MATCH_SIZE, values in [0, 1]."""
    picture = Image.fromarray(part.astype(np.uint8) * 255)
    return np.asarray(picture.resize((MATCH_SIZE, MATCH_SIZE), Image.Resampling.BILINEAR), dtype=np.float32) / 255


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


@functools.cache
def _templates() -> dict[str, tuple[np.ndarray, ...]]:
    """Masks of each shape, drawn at several sizes and sub-pixel positions, as `_rescale` sees them."""
    templates: dict[str, tuple[np.ndarray, ...]] = {}
    for shape in SHAPES:
        masks = []
        for radius in (5.0, 5.6, 6.2):
            for dx, dy in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)):
                picture = draw((Thing("blue", shape, IMAGE_SIZE / 2 + dx, IMAGE_SIZE / 2 + dy, radius),))
                mask = segment(picture) == _NAMES.index("blue")
                masks.append(_rescale(mask[ndimage.find_objects(mask.astype(int))[0]]))
        templates[shape] = tuple(masks)
    return templates
