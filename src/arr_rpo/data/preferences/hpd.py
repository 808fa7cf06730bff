"""Human Preference Dataset v2 and v3, and EditReward's data, which has the shape of v3 with a source image.

Licences: HPDv3 (`MizzenAI/HPDv3`) and EditReward's validation set MIT, HPDv2 (`ymhao/HPDv2`) Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Unpack

from arr_rpo.data.preferences.from_files import PairReading, ReadPairs, UnopenedPair, rank_pairs
from arr_rpo.data.tables import Row
from arr_rpo.types import Outcome


def hpdv3(*, path: str, min_confidence: float | None, **reading: Unpack[PairReading]) -> ReadPairs:
    """`prompt, path1, path2, confidence?`: `path1` is the preferred one, always; so `swap_seed` matters here.

    min_confidence: pairs with a lower one are left out; None takes all. A pair without confidence (all of the test split,
        some of the others) is kept: nothing is known against it.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair | str]:
        confidence = row.get("confidence")
        if min_confidence is not None and confidence is not None and confidence < min_confidence:
            yield f"confidence below {min_confidence}"
        else:
            yield UnopenedPair(row.where, row.id, row.text("prompt"), row["path1"], row["path2"], Outcome.A)

    return ReadPairs(path, of_row, **reading)


def editreward_validation(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """`prompt, path_src, path1, path2, tie_case?`: `path1` is the preferred one, always.

    `model1_overall_score` and its kin are other people's scores and contradict the order in half of the published rows.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair]:
        label = Outcome.TIE if row.get("tie_case") else Outcome.A
        text, source = row.text("prompt"), row["path_src"]
        yield UnopenedPair(row.where, row.id, text, row["path1"], row["path2"], label, source=source)

    return ReadPairs(path, of_row, **reading)


def hpdv2(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """Both splits, told apart by their keys.

    train: `prompt, file_path[2], human_preference[2]`, 1 being preferred.
    test: `prompt, image_path[], rank[]`, lower being better: every pair of the ranking.
    """
    return ReadPairs(path, lambda row: (_hpdv2_train if "file_path" in row else _hpdv2_test)(row), **reading)


def _hpdv2_train(row: Row) -> Iterator[UnopenedPair]:
    (a, b), votes = row.sequence("file_path", 2), row.sequence("human_preference", 2)
    yield UnopenedPair(row.where, row.id, row.text("prompt"), a, b, Outcome.higher(*votes))


def _hpdv2_test(row: Row) -> Iterator[UnopenedPair]:
    text, images = row.text("prompt"), row.sequence("image_path")
    for i, j, label in rank_pairs(row.sequence("rank", len(images))):
        yield UnopenedPair(row.where, f"{row.id}/{i}-{j}", text, images[i], images[j], label, prompt_id=row.id)
