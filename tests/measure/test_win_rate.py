"""Win rates by hand, and whom they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from arr_rpo.measure.base import MAX_FIGURES, Own, Taken, Value
from arr_rpo.measure.scored import Scored
from arr_rpo.measure.win_rate import ORDER_DECIDED, TIED, WinRate
from arr_rpo.reward.combined import Combined
from arr_rpo.reward.pair_protocols import Compare
from arr_rpo.reward.pairings import disjoint
from arr_rpo.reward.pairwise import Pairwise
from arr_rpo.reward.pointwise import Pointwise
from arr_rpo.scorer.base import Scorer, grade
from arr_rpo.types import Cost, Criterion, CriterionCheck, Grade, Outcome, Prompt, Rubric, UserError, Verdict

PROMPTS = [Prompt(f"p/{n}", f"prompt {n}") for n in range(5)]
BRIGHT, DARK = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
OUTCOMES = (Outcome.A, Outcome.B, Outcome.TIE, Outcome.INCONSISTENT, Outcome.FAILED)


class Says:
    """A judge with one outcome a prompt, in order, and a check that the picture meets and the base's does not."""

    name, revision = "says", "1"

    def __init__(self) -> None:
        self.rubrics: list[Any] = []

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Any], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        assert all(pair == (BRIGHT, DARK) for pair in pairs)
        self.rubrics += rubrics
        check = CriterionCheck("colour", "?", 0.9, 0.3)
        return [Verdict(OUTCOMES[int(p.id[2:])], 0.5, checks=(check,), cost=Cost(2, 10), reason="why") for p in prompts]


class Brightness(Scorer):
    def score(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Grade]:
        return [grade(image.getpixel((0, 0))[0] / 255) for image in images]  # type: ignore[index]


class Darkness(Scorer):
    def score(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Grade]:
        return [grade(1 - image.getpixel((0, 0))[0] / 255) for image in images]  # type: ignore[index]


class Silent(Scorer):
    def score(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Grade]:
        return [grade(None)] * len(images)


def values(measure: WinRate) -> list[Value]:
    return measure.values(PROMPTS, [BRIGHT] * 5, [DARK] * 5)


def test_each_outcome_is_worth_what_it_says() -> None:
    judge = Says()
    measure = WinRate(judge=judge, protocol=Compare(uses_rubric=False), rubric=None)  # type: ignore[arg-type]
    measure.begin(None)
    found = values(measure)
    assert [value.value for value in found] == [1.0, 0.0, 0.5, 0.5, None]
    assert found[4].reason == "why"
    assert [(v.figures[TIED], v.figures[ORDER_DECIDED]) for v in found[:4]] == [(0, 0), (0, 0), (1, 0), (0, 1)]
    assert found[0].figures["colour"] == pytest.approx(0.8)  # (1 + 0.9 - 0.3) / 2
    assert measure.cost == Cost(10, 50)
    taken = Taken(dict(zip((p.id for p in PROMPTS), found, strict=True)), {p.id: "" for p in PROMPTS})
    assert (taken.mean, taken.missing, taken.by_tag) == (0.5, 1, {})
    assert taken.figures[TIED] == 0.25


def test_of_the_base_itself_it_is_one_half_and_nobody_is_asked() -> None:
    measure = WinRate(judge=Says(), protocol=Compare(uses_rubric=False), rubric=None)  # type: ignore[arg-type]
    measure.begin(None)
    assert [value.value for value in measure.values(PROMPTS, [DARK] * 5, None)] == [0.5] * 5
    assert measure.cost == Cost()


def test_the_runs_own_word_is_its_reward_part_by_part() -> None:
    """Two parts of weight 3 and -1: the judge says A, B, ...; the scorer finds the picture better, which a negative weight
    turns round."""
    pairwise = Pairwise(protocol=Compare(uses_rubric=False), win=1.0, lose=-1.0, pairing=disjoint)
    parts = {
        "judge": {"reward": pairwise, "weight": 3.0, "gate": None},
        "bright": {"reward": Pointwise(protocol=Brightness()), "weight": -1.0, "gate": None},
    }
    own = Own(Says(), Combined(parts=parts, normalise=True, missing="mask"), None)
    measure = WinRate(judge=None, protocol=None, rubric=None)
    measure.begin(own)
    found = values(measure)
    assert [value.value for value in found] == [0.75, 0.0, 0.375, 0.375, None]
    assert [value.figures.get("bright") for value in found] == [0.0, 0.0, 0.0, 0.0, None]
    assert [value.figures.get("judge") for value in found] == [1.0, 0.0, 0.5, 0.5, None]


def test_behind_a_gate_a_picture_wins_nothing() -> None:
    """The gate itself has no weight. Where the picture alone passes, its worst is a tie; where the base's alone does, its best;
    where neither does all are ties. A failed verdict stays missing."""
    pairwise = Pairwise(protocol=Compare(uses_rubric=False), win=1.0, lose=-1.0, pairing=disjoint)

    def found(gate: Any, least: float | None) -> list[float | None]:
        inner = {"judge": {"reward": pairwise, "weight": 1.0, "gate": None}}
        parts = {
            "gate": {"reward": gate, "weight": 0.0, "gate": least},
            "rest": {"reward": Combined(parts=inner, normalise=False, missing="mask"), "weight": 1.0, "gate": None},
        }
        measure = WinRate(judge=None, protocol=None, rubric=None)
        measure.begin(Own(Says(), Combined(parts=parts, normalise=True, missing="mask"), None))
        return [value.value for value in values(measure)]

    bright, dark = Pointwise(protocol=Brightness()), Pointwise(protocol=Darkness())
    assert found(bright, None) == found(bright, 0.0) == [1.0, 0.0, 0.5, 0.5, None]
    assert found(bright, 0.5) == [1.0, 0.5, 0.5, 0.5, None]
    assert found(dark, 0.5) == [0.5, 0.0, 0.5, 0.5, None]
    assert found(dark, 1.5) == [0.5, 0.5, 0.5, 0.5, None]
    assert found(Pointwise(protocol=Silent()), 0.5) == [None] * 5  # nobody knows who passes


def test_behind_a_gate_a_part_that_is_to_be_low_wins_nothing_either() -> None:
    """The picture has more of what is not wanted; whoever does not pass the gate is not the better one for it."""

    def found(least: Mapping[str, float]) -> list[float | None]:
        scorers = {"dark": Darkness(), "bright": Brightness()}  # the picture is bright
        given = {
            name: {"reward": Pointwise(protocol=scorer), "weight": 0.0 if name == "dark" else -1.0, "gate": least.get(name)}
            for name, scorer in scorers.items()
        }
        measure = WinRate(judge=None, protocol=None, rubric=None)
        measure.begin(Own(Says(), Combined(parts=given, normalise=True, missing="mask"), None))
        return [value.value for value in values(measure)]

    assert found({}) == [0.0] * 5
    assert found({"dark": 0.5}) == [0.0] * 5  # the base passes, the picture does not: no win to be taken away
    assert found({"dark": 1.5}) == [0.5] * 5  # nobody passes


def test_prompts_of_two_files_with_one_name_have_rubrics_of_their_own() -> None:
    def rubrics(prompts: Sequence[Prompt], judge: Any) -> list[Rubric]:
        return [Rubric((Criterion(prompt.text, "?"),)) for prompt in prompts]

    judge, other = Says(), [Prompt(prompt.id, f"unseen {prompt.text}") for prompt in PROMPTS]
    measure = WinRate(judge=judge, protocol=Compare(uses_rubric=True), rubric=SimpleNamespace(rubrics=rubrics, cost=Cost()))  # type: ignore[arg-type]
    measure.begin(None)
    for some in (PROMPTS, other):
        measure.prepare(some)
        measure.values(some, [BRIGHT] * 5, [DARK] * 5)
    assert [rubric.criteria[0].name for rubric in judge.rubrics] == [prompt.text for prompt in [*PROMPTS, *other]]


def test_a_gate_asks_the_judge_what_its_part_asked() -> None:
    """Who wins has 1, who loses -1: who lost gains nothing from the scorer either."""
    pairwise = Pairwise(protocol=Compare(uses_rubric=False), win=1.0, lose=-1.0, pairing=disjoint)
    parts = {
        "judge": {"reward": pairwise, "weight": 1.0, "gate": 0.0},
        "bright": {"reward": Pointwise(protocol=Brightness()), "weight": 1.0, "gate": None},
    }
    measure = WinRate(judge=None, protocol=None, rubric=None)
    measure.begin(Own(Says(), Combined(parts=parts, normalise=True, missing="mask"), None))
    assert [value.value for value in values(measure)] == [1.0, 0.25, 0.75, 0.75, None]
    assert measure.cost == Cost(10, 50)


def test_rubrics_are_written_once_a_prompt() -> None:
    asked: list[str] = []

    def rubrics(prompts: Sequence[Prompt], judge: Any) -> list[Rubric]:
        asked.extend(prompt.id for prompt in prompts)
        return [Rubric((Criterion(prompt.id, "?"),)) for prompt in prompts]

    judge = Says()
    measure = WinRate(judge=judge, protocol=Compare(uses_rubric=True), rubric=SimpleNamespace(rubrics=rubrics, cost=Cost()))  # type: ignore[arg-type]
    measure.begin(None)
    for _ in range(2):
        measure.prepare(PROMPTS)
        values(measure)
    assert asked == [p.id for p in PROMPTS]
    assert [rubric.criteria[0].name for rubric in judge.rubrics] == asked * 2


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UserError, match="this run has none"):
        WinRate(judge=None, protocol=None, rubric=None).begin(None)
    own = Own(Says(), Pairwise(protocol=Compare(uses_rubric=True), win=1, lose=-1, pairing=disjoint), None)
    with pytest.raises(UserError, match="reads a rubric and there is none"):
        WinRate(judge=None, protocol=None, rubric=None).begin(own)
    with pytest.raises(UserError, match="does not know how object asks"):
        WinRate(judge=None, protocol=None, rubric=None).begin(Own(Says(), object(), None))


def test_a_scorer_that_has_no_number_is_missing() -> None:
    class Some(Brightness):
        def score(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Grade]:
            return [grade(2.0), grade(None)]

    found = Scored(scorer=Some()).values(PROMPTS[:2], [BRIGHT, DARK], None)
    assert [(value.value, value.reason) for value in found] == [(2.0, ""), (None, "no score")]


def test_of_figures_that_judges_name_freely_the_most_common_are_kept() -> None:
    """Each prompt has a criterion of its own, and one that all share."""
    each = {f"p/{n}": Value(1.0, {f"own {n}": 1.0, "shared": 0.5}) for n in range(40)}
    found = Taken(each, dict.fromkeys(each, "")).figures
    assert found["shared"] == 0.5 and len(found) == MAX_FIGURES


def test_the_runs_rubrics_are_written_by_the_runs_judge_and_counted() -> None:
    """Also where another judge compares: what it wrote would be what training is paid by."""
    written: list[Any] = []

    class Paid:
        cost = Cost()

        def rubrics(self, prompts: Sequence[Prompt], judge: Any) -> list[Rubric]:
            written.append(judge)
            self.cost = self.cost + Cost(len(prompts), 7)
            return [Rubric((Criterion("c", "?"),))] * len(prompts)

    own, other = Says(), Says()
    measure = WinRate(judge=other, protocol=Compare(uses_rubric=True), rubric=None)  # type: ignore[arg-type]
    measure.begin(Own(own, object(), Paid()))  # type: ignore[arg-type]
    measure.prepare(PROMPTS)
    assert written == [own]
    assert measure.cost == Cost(5, 7)
    values(measure)
    assert len(other.rubrics) == 5 and not own.rubrics


def test_a_rubric_that_could_not_be_had_is_asked_for_again() -> None:
    """A server that failed at one measurement costs none of the later ones."""
    asked: list[int] = []

    def rubrics(prompts: Sequence[Prompt], judge: Any) -> list[Rubric | None]:
        asked.append(len(prompts))
        return [None if len(asked) == 1 and k > 1 else Rubric((Criterion("c", "?"),)) for k in range(len(prompts))]

    source: Any = SimpleNamespace(rubrics=rubrics, cost=Cost())
    judge: Any = Says()
    measure = WinRate(judge=judge, protocol=Compare(uses_rubric=True), rubric=source)
    for _ in range(3):
        measure.prepare(PROMPTS)
    assert asked == [5, 3]
