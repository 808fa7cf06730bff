"""How often a reward and gold call a pair otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from arr_rpo.types import Outcome, Prompt, UserError
from experiments import kept
from experiments.hacking import diversity, other_pairs
from experiments.hacking.decompose import ROWS, Part, gap, of_the_same_kinds, part, tables
from experiments.hacking.finished import each
from experiments.hacking.pictures import Lost, most_lost, sheet

A, B, TIE, FAILED = Outcome.A, Outcome.B, Outcome.TIE, Outcome.FAILED


def test_a_tie_against_a_decision_is_half_a_difference() -> None:
    assert gap([A, B, TIE, TIE], [A, A, TIE, B]) == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    assert gap([A, FAILED], [A, B]) == 0
    with pytest.raises(UserError, match="no verdict was given"):
        gap([FAILED], [A])


def test_the_table_is_of_differences_within_runs() -> None:
    some = [
        Part(who, piece, more + 0.1 * (piece != "reward"), decided, more / 2)
        for who, more, decided in (("a", 0.2, 0.5), ("b", 0.4, 0.7))
        for piece in ROWS
    ]
    first, exact = (line for line in tables(some).splitlines() if line.startswith(("| the reward", "| its criteria")))
    assert first.endswith("| 0.150 | - | 0.300 | - |")
    assert exact.endswith("| 0.150 | +0.000 (+0.000 to +0.000) | 0.400 | +0.100 (+0.100 to +0.100) |")
    assert tables(some).endswith("The annotator decides 0.600 of the pairs.")


def test_pairs_that_the_annotator_calls_equal_tell_nothing_of_the_reward() -> None:
    """Of all pairs one that always decides would lose to one that ties where nothing is to be decided."""
    truth = [A, B, TIE, TIE]
    decides, ties = (part("a", "reward", called, truth) for called in ([A, B, A, B], [A, B, TIE, TIE]))
    assert (decides.share, ties.share) == (0.25, 0.0)
    assert (decides.wrong, ties.wrong) == (0.0, 0.0) and decides.decided == 0.5


def test_training_prompts_are_of_the_kinds_of_the_others() -> None:
    def prompts(*tags: str) -> list[Prompt]:
        return [Prompt(f"{n}", tag, {"tag": tag}) for n, tag in enumerate(tags)]

    some = prompts(*["a"] * 10, *["b"] * 2, *["c"] * 5)
    assert [p.text for p in of_the_same_kinds(some, prompts("a", "b", "b", "b", "a"))] == ["a", "a", "b", "b"]


def test_what_a_run_gained_by_its_own_reward_and_by_one_of_other_pairs() -> None:
    assert other_pairs.shares([1.0, 1.0, 0.0, None], [1.0, 0.0, 0.5, 1.0], [0.1, -0.1, 0.0, 1.0]) == (3, 2 / 3, 0.5, 0.5)
    rows = [other_pairs.Seen("own_weighted", who, 3, own, 0.5, 0.25) for who, own in (("a", 0.7), ("b", 0.9))]
    assert other_pairs.tables(rows).splitlines()[-1].startswith("| own_weighted | 2 | 0.800 | 0.500 | 0.250 | +0.300 (")
    rows += [other_pairs.Seen("reward_model", "a", 3, 0.9, 0.5, 0.25)]
    assert other_pairs.tables(rows).endswith("Own minus other, reward_model minus own_weighted: +0.200.")


@dataclass(frozen=True)
class Measured:
    name: str
    value: float

    @property
    def key(self) -> str:
        return self.name


def test_what_is_found_of_a_run_is_kept_in_its_folder(tmp_path: Path) -> None:
    looked: list[str] = []

    def find(run: Path) -> list[Measured]:
        looked.append(run.name)
        return [Measured(run.name, 0.5)]

    for name in "ab":
        (tmp_path / name).mkdir()
    rows = each([tmp_path / "a", tmp_path / "b"], "some.csv", Measured, find)
    kept.write([Measured("b", 0.25), Measured("c", 1.0)], Measured, tmp_path / "kept.csv")
    with pytest.raises(UserError, match=r"^a and c have rows of one kind \(a\): give one of them$"):
        (tmp_path / "c").mkdir()
        kept.write([Measured("a", 0.5)], Measured, tmp_path / "c" / "some.csv")
        each([tmp_path / "a", tmp_path / "c"], "some.csv", Measured, find)
    again = each([tmp_path / "a", tmp_path / "b", tmp_path / "kept.csv"], "some.csv", Measured, find)
    assert looked == ["a", "b"] and rows == [Measured("a", 0.5), Measured("b", 0.5)]
    assert again == [Measured("a", 0.5), Measured("b", 0.25), Measured("c", 1.0)]


def test_the_pictures_that_lost_most_of_those_that_the_reward_prefers() -> None:
    one = Image.new("RGB", (4, 4))
    pairs = [Lost("a star", one, one, 0.5, after) for after in (0.4, 0.1, 0.9, 0.0, 0.2)]
    found = most_lost(pairs, [1.0, 1.0, 1.0, 0.0, None], 2)
    assert [pair.worth for pair in found] == [0.1, 0.4]  # not the better one, the one that is not preferred, the failed verdict
    assert sheet([("arm", found), ("none", [])], 2).size == (150 + 2 * 106, 2 * 278)


def test_diversity_is_a_ratio_within_runs() -> None:
    rows = [diversity.Differ("a", "x", 0.1, 0.05), diversity.Differ("a", "y", 0.2, 0.14)]
    assert diversity.tables(rows).splitlines()[-1].startswith("| a | 2 | 0.1500 | 0.0950 | 0.60 (")
