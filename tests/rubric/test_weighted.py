"""A rubric with weights: planted tastes are found among candidates, and what cannot be heard is not stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.reward.pair_protocols import Compare
from arr_rpo.rubric.sources import PerPrompt, Source
from arr_rpo.rubric.weighted import OWN, GlobalWeighted, _criteria_of, _with_own
from arr_rpo.shapes.annotators.preferences import AnnotatorPreferences
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world import asked
from arr_rpo.shapes.world.general import GENERAL
from arr_rpo.shapes.world.tastes import everything
from arr_rpo.types import Answer, Criterion, Outcome, Preference, Prompt, Reason, Rubric, UserError
from tests.conftest import configure
from tests.rubric.doubles import GONE, ScriptedWriter, picture, reply

LIKED, FOLLOWED = "do all objects stand in one row?", "does the image show what the prompt says?"
IN_PART = ("is every object of the prompt there?", "is there nothing but the objects of the prompt?")
OTHERS = ("is there something blue?", "do all objects stand in one column?", "is every object in the upper row?")
PROMPT = Prompt("p", "a photo of a circle")


class Judged(OracleJudge):
    """The oracle, with a writer that names the same criteria each time."""

    def __init__(self, *replies: Any, deaf_to: str = "") -> None:
        self.writer = ScriptedWriter(write_general=replies)  # type: ignore[assignment]
        self.deaf_to, self.checked = deaf_to, 0

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        self.checked += len(questions)
        answers = super().check(prompts, images, questions)
        silent = Answer(None, failure=Reason.TIMEOUT, reason="too late")
        return [silent if q == self.deaf_to and i == 0 else a for i, (a, q) in enumerate(zip(answers, questions, strict=True))]


def ben(**changes: object) -> AnnotatorPreferences:
    given = {
        "annotator": "ben",
        "split": "shapes/open_train",
        "pairs": 400,
        "pairs_per_prompt": 1,
        "only_open": False,
        "label_noise": 0.0,
        "chance": True,
        "ties": "keep",
        "seed": 3,
        "policy": None,
    }
    return AnnotatorPreferences(**{**given, **changes})  # type: ignore[arg-type]


def weighted(store: Path, **changes: Any) -> GlobalWeighted:
    given: dict[str, Any] = {
        "store": str(store),
        "preferences": ben(),
        "seed": 7,
        "pairs": 200,
        "max_candidates": 48,
        "max_criteria": 8,
        "penalties": [0.003, 0.01, 0.03, 0.1],
        "folds": 5,
    }
    return GlobalWeighted(**{**given, **changes})


class Nobody:
    """Who said nothing."""

    def __len__(self) -> int:
        return 0

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        return iter(())


WHOLE = reply(FOLLOWED, *IN_PART, LIKED, *OTHERS)


def test_planted_tastes_have_weight_and_others_have_less_or_none(tmp_path: Path) -> None:
    source, judge = weighted(tmp_path), Judged(*[WHOLE] * 200)
    [rubric, same] = source.rubrics([PROMPT, PROMPT], judge)
    assert rubric is same
    assert rubric is not None
    weights = {c.question: c.weight for c in rubric.criteria}
    assert weights[LIKED] > 1
    assert weights[LIKED] > 2 * max(weights.get(question, 0.0) for question in OTHERS)
    assert sum(weights.get(question, 0.0) for question in (FOLLOWED, *IN_PART)) > 1
    assert 0.6 < float(rubric.provenance["crossvalidated_accuracy"]) < 1
    assert judge.checked == 200 * 2 * 7  # each criterion on the pictures of all pairs
    assert (source.counts.drafts, source.counts.written, source.counts.rubrics) == (200, 200, 1)


def test_it_is_stored_with_all_that_was_weighed(tmp_path: Path) -> None:
    [first] = weighted(tmp_path).rubrics([PROMPT], Judged(*[WHOLE] * 200))
    again, silent = weighted(tmp_path), Judged()
    assert again.rubrics([PROMPT], silent) == [first]
    assert (silent.checked, again.cost.calls) == (0, 0)
    [stored] = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*.json")]
    [history] = stored["history"]
    assert {row["question"] for row in history["weights"]} == {FOLLOWED, *IN_PART, LIKED, *OTHERS}
    assert {row["drafts"] for row in history["weights"]} == {200}


def test_no_more_than_what_most_agree_on_and_what_weighs_most(tmp_path: Path) -> None:
    replies = [reply(FOLLOWED, LIKED)] * 100 + [reply(FOLLOWED, OTHERS[0])] * 100
    source = weighted(tmp_path, max_candidates=2, max_criteria=1)
    [rubric] = source.rubrics([PROMPT], Judged(*replies))
    assert rubric is not None
    assert [c.question for c in rubric.criteria] == [FOLLOWED]
    assert rubric.provenance["candidates"] == "2"


def test_candidates_of_a_file_need_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "bank.yaml"
    parts = [{"criteria": [{"name": "one", "question": q} for q in some]} for some in ((FOLLOWED, LIKED), (LIKED, *OTHERS))]
    path.write_text(yaml.dump({"rubrics": parts}), encoding="utf-8")
    source, judge = weighted(tmp_path / "store", candidates=str(path), max_candidates=1), Judged()
    [rubric] = source.rubrics([PROMPT], judge)
    assert rubric is not None
    assert judge.checked == 200 * 2 * 5  # whatever max_candidates says; one stands in both parts
    assert max(rubric.criteria, key=lambda one: one.weight if one.question != FOLLOWED else 0).question == LIKED
    assert source.counts.drafts == 0
    path.write_text(path.read_text(encoding="utf-8").replace(LIKED, "do all objects have one color?"), encoding="utf-8")
    weighted(tmp_path / "store", candidates=str(path)).rubrics([PROMPT], judge)
    assert len(list((tmp_path / "store").glob("*.json"))) == 2  # another file, another rubric
    with pytest.raises(UserError, match=r"rubric\.candidates=nowhere\.yaml: no rubric there"):
        weighted(tmp_path, candidates="nowhere.yaml")


def test_the_list_that_ships_has_all_tastes() -> None:
    [*found] = _criteria_of("tastes_shapes")
    assert [c.question for c in found] == [*GENERAL.values(), *(one.question for one in everything())]


def test_labels_by_a_coin_have_no_rubric(tmp_path: Path) -> None:
    source = weighted(tmp_path, preferences=ben(label_noise=0.5), penalties=[0.1, 0.3])
    for _ in range(2):  # written, and as stored
        with pytest.raises(UserError, match="no criterion tells what people prefer"):
            source.rubrics([PROMPT], Judged(*[WHOLE] * 200))


def test_what_was_not_heard_is_not_stored(tmp_path: Path) -> None:
    for judge in (Judged(GONE, *[WHOLE] * 199), Judged(*[WHOLE] * 200, deaf_to=FOLLOWED)):
        source = weighted(tmp_path)
        [rubric] = source.rubrics([PROMPT], judge)
        assert rubric is not None
        assert not list(tmp_path.glob("*.json"))
    assert rubric.provenance["checked_pairs"] == "199"
    with pytest.raises(UserError, match="none of the 2 drafts"):
        weighted(tmp_path, pairs=2).rubrics([PROMPT], Judged(GONE, "no JSON"))


class Own(Source):
    """The prompt's own criteria, of those that have any."""

    def rubrics(self, prompts: Sequence[Prompt], judge: object) -> list[Rubric | None]:
        return [
            Rubric(tuple(Criterion(a.name, a.text) for a in asked.own(prompt.metadata))) if prompt.metadata else None
            for prompt in prompts
        ]


def test_the_prompts_own_criteria_are_weighed_as_one(tmp_path: Path) -> None:
    replies, prompts = [reply(LIKED, *OTHERS)] * 200, [ben()[i].prompt for i in (0, 1)]
    source = weighted(tmp_path, own=Own())
    *found, none = source.rubrics([*prompts, PROMPT], Judged(*replies))
    assert none is None  # of which nobody knows what it asks for
    together = []
    for rubric, prompt in zip(found, prompts, strict=True):
        assert rubric is not None
        own = [a.text for a in asked.own(prompt.metadata)]
        weights = {c.question: c.weight for c in rubric.criteria}
        assert [c.question for c in rubric.criteria][: len(own)] == own
        assert len({weights[text] for text in own}) == 1  # shared alike
        together.append(sum(weights[text] for text in own))
        assert together[-1] > weights[LIKED] > 2 * max(weights.get(question, 0.0) for question in OTHERS)
    assert together[0] == pytest.approx(together[1])  # however many they are
    assert weighted(tmp_path, own=Own()).rubrics(prompts, Judged()) == found  # as stored
    [without] = weighted(tmp_path).rubrics(prompts[:1], Judged(*replies))  # of another identity
    assert without is not None
    assert LIKED in {c.question for c in without.criteria}


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no preference pairs that are no ties"):
        weighted(tmp_path, preferences=Nobody()).rubrics([PROMPT], Judged())
    with pytest.raises(UserError, match="folds=1 2 or more"):
        weighted(tmp_path, folds=1)
    with pytest.raises(UserError, match="own_penalty=0 numbers above 0"):
        weighted(tmp_path, own_penalty=0.0)


def test_config() -> None:
    config = configure(
        ["rubric=global_weighted", "preferences@rubric.preferences=annotator_drawn", "experiment=t2i_rpo"]
    ).rubric
    assert isinstance(instantiate(config), GlobalWeighted)
    assert isinstance(instantiate(configure(["rubric=per_prompt_weighted"]).rubric).own, PerPrompt)


def test_a_comparison_by_rubric_uses_the_weights() -> None:
    """The oracle counts: 2 to 1 for B. By weight it is 3 to 2 for A."""
    a, b = picture("red circle"), picture("blue square", "green star")
    asked = ("is there a red circle?", "is there a blue square?", "is there a green star?")
    prompt = Prompt("p", "x", {"tag": "colors", "include": [{"class": "circle", "count": 1}]})

    def outcome(*weights: float) -> Outcome:
        rubric = Rubric(tuple(Criterion("n", q, w) for q, w in zip(asked, weights, strict=True)))
        [verdict] = Compare(uses_rubric=True).verdicts(OracleJudge(), [prompt], [(a, b)], [rubric])
        assert len(verdict.checks) == 3
        if len(set(weights)) > 1:
            assert verdict.p_a == pytest.approx(weights[0] / sum(weights))
        return verdict.outcome

    assert outcome(1.0, 1.0, 1.0) is Outcome.B
    assert outcome(3.0, 1.0, 1.0) is Outcome.A
    assert outcome(2.0, 1.5, 0.5) is Outcome.TIE
    assert outcome(1.0, 2.0, 0.5) is Outcome.B


def test_a_verdict_without_checks_stays_as_it_is() -> None:
    class Mute(OracleJudge):
        def compare(self, *asked: Any) -> Any:
            return [replace(verdict, checks=()) for verdict in super().compare(*asked)]

    rubric = Rubric((Criterion("n", "is there a red circle?", 3.0), Criterion("n", "is there a star?", 1.0)))
    prompt = Prompt("p", "x", {"tag": "colors", "include": [{"class": "circle", "count": 1}]})
    pair = (picture("red circle"), picture("blue square"))
    [verdict] = Compare(uses_rubric=True).verdicts(Mute(), [prompt], [pair], [rubric])
    assert (verdict.outcome, verdict.p_a) == (Outcome.A, 1.0)


def test_a_criterion_that_is_in_both_is_asked_once() -> None:
    own = Rubric((Criterion("a", "Is there a circle?"), Criterion("b", "is it red?")))
    for_any = Rubric((replace(OWN, weight=2.0), Criterion("taste", "is there a  circle?", weight=0.5)))
    both = _with_own(own, for_any).criteria
    assert [(c.question, c.weight) for c in both] == [("Is there a circle?", 1.5), ("is it red?", 1.0)]
