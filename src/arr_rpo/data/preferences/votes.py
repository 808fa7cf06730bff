"""Votes between two images: Pick-a-Pic, GenAI-Bench, EditReward-Bench, EditScore's bench."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Unpack

from arr_rpo.data.arrow import Element, TableCell
from arr_rpo.data.preferences.from_files import PairReading, ReadPairs, UnopenedPair
from arr_rpo.data.tables import Row
from arr_rpo.types import Outcome, UserError

GENAI_VOTES = {"leftvote": Outcome.A, "rightvote": Outcome.B, "tievote": Outcome.TIE, "bothbad_vote": Outcome.TIE}
RANKINGS = {"A>B": Outcome.A, "B>A": Outcome.B, "A=B": Outcome.TIE}


def pickapic(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """Pick-a-Pic v2 (`yuvalkirstain/pickapic_v2`, arXiv 2305.01569): `caption, jpg_0, jpg_1, label_0, label_1, has_label`.

    The images are encoded bytes in the rows; rows without a label are left out; equal labels are a tie.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair | str]:
        if not row["has_label"]:
            yield "no label"
            return
        name = str(row.get("ranking_id", row.id))
        label = Outcome.higher(float(row["label_0"]), float(row["label_1"]))
        yield UnopenedPair(row.where, name, row.text("caption"), row["jpg_0"], row["jpg_1"], label)

    return ReadPairs(path, of_row, **reading)


def genai_bench(*, path: str, task: Literal["generation", "edition"], **reading: Unpack[PairReading]) -> ReadPairs:
    """GenAI-Bench (`TIGER-Lab/GenAI-Bench`, arXiv 2406.04485, CC-BY-4.0).

    generation: `prompt, left_image, right_image, vote_type`; edition: `instruct_prompt, source_image, left_output_image,
    right_output_image, vote_type`. Both good and both bad are ties.
    """
    if task not in ("generation", "edition"):
        raise UserError(f"preferences.task={task}: choose generation or edition")

    def of_row(row: Row) -> Iterator[UnopenedPair]:
        edit = task == "edition"
        text = row.text("instruct_prompt" if edit else "prompt")
        left, right = (row[f"{side}_output_image" if edit else f"{side}_image"] for side in ("left", "right"))
        label = _one_of(row, "vote_type", GENAI_VOTES)
        yield UnopenedPair(row.where, row.id, text, left, right, label, source=row["source_image"] if edit else None)

    return ReadPairs(path, of_row, **reading)


def editreward_bench(*, path: str, dataset: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """EditReward-Bench (`TIGER-Lab/EditReward-Bench`, Apache-2.0): `id, instruction, source_image, candidate_1, candidate_2,
    ranking, dataset`; not EditScore's bench of the same name.

    dataset: the part that is taken, `2pair` being the one made of pairs.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair | str]:
        if row["dataset"] != dataset:
            yield f"not of {dataset}"
            return
        label = _one_of(row, "ranking", RANKINGS)
        text, source = row.text("instruction"), row["source_image"]
        yield UnopenedPair(row.where, str(row["id"]), text, row["candidate_1"], row["candidate_2"], label, source=source)

    return ReadPairs(path, of_row, **reading)


def editscore_bench(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """EditScore's bench (`EditScore/EditReward-Bench`, arXiv 2509.23909, Apache-2.0): `key[2], instruction, input_image,
    output_images[2], task_type, dimension`; not TIGER's of the same name.

    The first output is the preferred one, always; so `swap_seed` matters here. Subset: kind of edit and dimension.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair]:
        outputs = row["output_images"]
        a, b = (
            [Element(outputs, 0), Element(outputs, 1)] if isinstance(outputs, TableCell) else row.sequence("output_images", 2)
        )
        subset = f"{row['task_type']}/{row['dimension']}"
        key = "/".join(map(str, row.sequence("key", 2)))  # of two images, which are judged in several dimensions
        text, source = row.text("instruction"), row["input_image"]
        yield UnopenedPair(row.where, f"{key}/{row['dimension']}", text, a, b, Outcome.A, subset, source, prompt_id=key)

    return ReadPairs(path, of_row, **reading)


def _one_of(row: Row, key: str, labels: dict[str, Outcome]) -> Outcome:
    value = row[key]
    if value not in labels:
        raise UserError(f"{row.where}: {key} is {value!r}, none of {', '.join(labels)}")
    return labels[value]
