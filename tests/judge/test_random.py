"""The control: coins that are fair, repeatable, and independent of one another."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from arr_rpo.judge.random import RandomJudge
from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.types import Cost, Criterion, Outcome, Preference, Prompt, Rubric

PROMPT = Prompt("p", "anything")
RNG = np.random.default_rng(0)
IMAGES = [Image.fromarray(RNG.integers(0, 255, (4, 4, 3), dtype=np.uint8)) for _ in range(400)]
PAIRS = list(zip(IMAGES[::2], IMAGES[1::2], strict=True))
JUDGE = RandomJudge(seed=1)


def rubric(*questions: str) -> Rubric:
    return Rubric(tuple(Criterion("c", question) for question in questions))


def test_verdicts_are_a_fair_coin() -> None:
    verdicts = JUDGE.compare([PROMPT] * 200, PAIRS, [None] * 200)
    share = sum(v.outcome is Outcome.A for v in verdicts) / 200
    assert 0.4 < share < 0.6
    assert all(v.p_a is not None and (v.outcome is Outcome.A) == (v.p_a > 0.5) for v in verdicts)
    assert all(v.cost == Cost(2, 0) for v in verdicts)


def test_coins_are_repeatable_and_belong_to_a_seed() -> None:
    def said(judge: RandomJudge) -> list[object]:
        return [
            judge.compare([PROMPT] * 9, PAIRS[:9], [rubric("x?")] * 9),
            judge.score([PROMPT] * 9, IMAGES[:9]),
            judge.check([PROMPT] * 9, IMAGES[:9], ["x?"] * 9),
            judge.critique([PROMPT] * 9, IMAGES[:9], ["colors"]),
        ]

    assert said(JUDGE) == said(RandomJudge(seed=1))
    assert all(ours != theirs for ours, theirs in zip(said(JUDGE), said(RandomJudge(seed=2)), strict=True))


def test_each_criterion_has_a_coin_of_its_own() -> None:
    x, y = (JUDGE.check([PROMPT] * 200, IMAGES[:200], [question] * 200) for question in ("x?", "y?"))
    assert abs(np.corrcoef([a.value for a in x], [a.value for a in y])[0, 1]) < 0.25  # 3.5 standard errors
    one, other = (JUDGE.compare([PROMPT] * 200, PAIRS, [rubric(question)] * 200) for question in ("x?", "y?"))
    assert 60 < sum(a.outcome is b.outcome for a, b in zip(one, other, strict=True)) < 140


def test_grades_stay_on_their_scales() -> None:
    scores = [score.value for score in JUDGE.score([PROMPT] * 400, IMAGES)]
    assert 1 <= min(scores) < 1.2  # type: ignore[type-var, operator]
    assert 4.8 < max(scores) <= 5  # type: ignore[type-var, operator]
    critiques = JUDGE.critique([PROMPT] * 400, IMAGES, ["colors", "numbers"])
    assert set(critiques[0].dimensions) == {"colors", "numbers"}
    values = [grade for c in critiques for grade in (c.value, *c.dimensions.values())]
    assert 1 <= min(values) < 1.2  # type: ignore[type-var, operator]
    assert 3.8 < max(values) <= 4  # type: ignore[type-var, operator]


def test_it_writes_one_rubric_whatever_it_is_asked() -> None:
    writer, pair = JUDGE.writer, Preference("x", PROMPT, IMAGES[0], IMAGES[1], Outcome.A)
    texts = [
        *writer.write([PROMPT])[0],
        *writer.write_from_pairs([pair], role="write_general")[0],
        *writer.refine([pair], [rubric("x?")], JUDGE.compare([PROMPT], PAIRS[:1], [rubric("x?")]))[0],
        *JUDGE.plan([PROMPT], PAIRS[:1])[0],
    ]
    assert len(set(texts)) == 1
    assert len(parse_rubric(texts[0], {}).criteria) == 1
    assert writer.structure([rubric("x?", "y?").criteria])[0] == ['{"themes": [{"theme": "all", "criteria": [1, 2]}]}']
    assert (writer.name, writer.revision) == (JUDGE.name, JUDGE.revision)


@pytest.mark.parametrize("count", [0, 3])
def test_calls_are_counted(count: int) -> None:
    assert JUDGE.plan([PROMPT] * count, PAIRS[:count])[1] == Cost(count, 0)
    assert JUDGE.writer.write([PROMPT] * count)[1] == Cost(count, 0)
