"""Rankings of images of one prompt: ImageReward's test set, and Auto-Rubric as Reward's own files. Both Apache-2.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Unpack

from arr_rpo.data.preferences.from_files import PairReading, ReadPairs, UnopenedPair, rank_pairs
from arr_rpo.data.tables import Row


def imagereward(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """`id, prompt, generations[], ranking[]` (arXiv 2304.05977), lower being better: every pair of each ranking.

    Many rankings list the best first, so `swap_seed` matters here.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair]:
        name, text, images = row.text("id"), row.text("prompt"), row.sequence("generations")
        for i, j, label in rank_pairs(row.sequence("ranking", len(images))):
            yield UnopenedPair(row.where, f"{name}/{i}-{j}", text, images[i], images[j], label, prompt_id=name)

    return ReadPairs(path, of_row, **reading)


def arr(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """`query, label_rank[]` (arXiv 2605.08354), lower being better, with `response[]` for pictures of a prompt or
    `source_image, edited_images[]` for edits.

    Images are paths, relative to the folder that the authors' program is started in, or data URLs; http is refused.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair | str]:
        if not row.get("label_rank"):
            yield "no label"
            return
        edit = "edited_images" in row
        text, images = row.text("query"), row.sequence("edited_images" if edit else "response")
        source = row["source_image"] if edit else None
        for i, j, label in rank_pairs(row.sequence("label_rank", len(images))):
            name = row.id if len(images) == 2 else f"{row.id}/{i}-{j}"
            yield UnopenedPair(row.where, name, text, images[i], images[j], label, source=source, prompt_id=row.id)

    return ReadPairs(path, of_row, **reading)
