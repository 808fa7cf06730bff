"""Pairs as annotators label them: the same pictures for all, wrong labels in the share that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.shapes.annotators.people import annotator
from arr_rpo.shapes.annotators.preferences import AnnotatorPreferences
from arr_rpo.shapes.annotators.scorer import AnnotatorScorer
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.types import Outcome, Prompt, UserError
from tests.conftest import configure


def pairs(**changes: object) -> AnnotatorPreferences:
    given = {
        "annotator": "ben",
        "split": "shapes/open_train",
        "pairs": 200,
        "pairs_per_prompt": 1,
        "only_open": False,
        "label_noise": 0.0,
        "chance": False,
        "ties": "keep",
        "seed": 3,
        "policy": None,
    }
    return AnnotatorPreferences(**{**given, **changes})  # type: ignore[arg-type]


def test_without_chance_what_is_worth_more_is_better() -> None:
    ben, seen = annotator("ben"), Counter[str]()
    for pair in pairs():
        a, b = (ben.utility(pair.prompt, image) for image in (pair.a, pair.b))
        expected = Outcome.TIE if abs(a - b) < 1e-6 else (Outcome.A if a > b else Outcome.B)
        assert pair.better is expected
        seen[pair.subset] += 1
        if pair.subset == "neither":
            assert pair.better is Outcome.TIE
    assert set(seen) == {"prompt", "taste", "both", "neither"}


def test_the_same_pictures_for_every_annotator_and_the_first_of_more() -> None:
    many, few, others = pairs(), pairs(pairs=16), pairs(annotator="ada")
    assert [p.id for p in few] == [p.id for p in many][:16]
    assert [p.a.tobytes() for p in others] == [p.a.tobytes() for p in many]
    assert [p.better for p in others] != [p.better for p in many]
    assert [p.a.tobytes() for p in pairs(seed=4)] != [p.a.tobytes() for p in many]


def test_wrong_labels() -> None:
    right, some, more, coin = (pairs(label_noise=noise) for noise in (0.0, 0.1, 0.3, 0.5))
    wrong = [[a.better is not b.better for a, b in zip(right, noisy, strict=True)] for noisy in (some, more, coin)]
    decided = sum(p.better is not Outcome.TIE for p in right)
    assert [sum(w) / decided for w in wrong] == pytest.approx([0.1, 0.3, 0.5], abs=0.1)  # 3 standard errors of 160 pairs
    assert all(m for s, m in zip(wrong[0], wrong[1], strict=True) if s)  # what is wrong at 10% is wrong at 30%
    assert all(b.better is Outcome.TIE for a, b in zip(right, coin, strict=True) if a.better is Outcome.TIE)


def test_choices_by_chance_err_where_little_is_at_stake() -> None:
    right, chosen = pairs(pairs=405), pairs(pairs=405, chance=True)
    assert chosen[:40] != right[:40]
    agree = [a.better is b.better for a, b in zip(right, chosen, strict=True) if a.better is not Outcome.TIE]
    assert 0.75 < np.mean(agree) < 0.98
    assert sum(p.better is Outcome.TIE for p in chosen) > 20
    dropped = pairs(pairs=405, chance=True, ties="drop")
    kept = [p.id for p in chosen if p.better is not Outcome.TIE]
    assert list(dropped.ids[: len(kept)]) == kept  # others are drawn in the place of ties
    assert len(dropped.ids) == len(dropped) == 405
    assert dropped.left_out["tie"] > 405 - len(kept)


def test_several_pairs_a_prompt_and_those_of_one() -> None:
    some = pairs(pairs=12, pairs_per_prompt=4)
    assert [len({p.prompt.id for p in some[i : i + 4]}) for i in (0, 4, 8)] == [1, 1, 1]
    assert len(set(some.ids)) == 12
    prompt = some[0].prompt
    mine = some.for_prompt(prompt, 9, seed=1)
    assert {p.id for p in mine} == {p.id for p in some[:4] if p.better is not Outcome.TIE}
    assert [p.id for p in some.for_prompt(prompt, 2, seed=1)] == [p.id for p in mine][:2]
    assert some.for_prompt(Prompt("x", "a photo of a cat"), 3, seed=1) == []
    again = pairs(pairs=416)  # of 405 prompts: the last 11 are second pairs
    assert [p.id.endswith("/1") for p in again].count(True) == 11
    assert len(set(again.ids)) == 416


def test_prompts_alone_that_leave_a_taste_open() -> None:
    ada = annotator("ada")
    some = pairs(annotator="ada", only_open=True)
    assert all(ada.open_in(p.prompt.metadata) for p in some)
    assert not all(ada.open_in(p.prompt.metadata) for p in pairs(annotator="ada"))
    shares = [np.mean([p.subset in ("taste", "both") for p in source]) for source in (some, pairs(annotator="ada"))]
    assert shares[0] > 2 * shares[1]


class Painter:
    """A circle in the cell that its side names."""

    def __init__(self) -> None:
        self.keys: list[tuple[int | str, ...]] = []

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[int | str, ...]]) -> list[Image]:
        self.keys += keys
        return [draw(place([("red", "circle")], [int(key[-1] == "b")], np.random.default_rng(0))) for key in keys]


def test_a_policy_paints_each_picture_from_its_own_noise() -> None:
    painter = Painter()
    made = pairs(pairs=5, policy=painter)
    assert len(set(painter.keys)) == 10
    assert all(key[0] in {p.prompt.id for p in made} for key in painter.keys)
    assert made[0].a.tobytes() != made[0].b.tobytes()


def test_the_bench_may_ask_for_the_truth() -> None:
    pair = pairs()[0]
    assert AnnotatorPreferences.truth(pair.prompt, "do all objects stand in one row?", pair.a) in (True, False)
    assert AnnotatorPreferences.truth(pair.prompt, "is it pretty?", pair.a) is None


def test_the_oracle_of_an_annotator_as_a_score() -> None:
    prompt = Prompt("p", "x", {"tag": "single_object", "include": [{"class": "circle", "count": 1}]})
    red, blue = (draw(place([(color, "circle")], [0], np.random.default_rng(0))) for color in ("red", "blue"))
    [liked, other] = AnnotatorScorer(annotator="ada").score([prompt, prompt], [red, blue])
    assert (liked.value, other.value) == (pytest.approx(4.0), pytest.approx(3.0))
    assert liked.checks[-1] == ("is there something red?", "is there something red?", 1.0)


def test_configs() -> None:
    drawn = configure(
        ["task=judge", "preferences=annotator_drawn", "preferences.annotator=cleo", "preferences.pairs=5"], "evaluate"
    )
    assert len(instantiate(drawn.preferences)) == 5
    for name, noise in (("annotator", 0.0), ("annotator_coin", 0.5)):
        config = configure(["task=judge", f"preferences={name}"], "evaluate").preferences
        assert config.policy.checkpoint == "shapes"
        assert (config.label_noise, config.annotator) == (noise, "ada")
    scored = configure(["reward=annotator", "judge=none", "rubric=none", "reward.protocol.annotator=ivo"]).reward
    assert not instantiate(scored).uses_rubric


@pytest.mark.parametrize("wrong", [{"ties": "some"}, {"label_noise": 1.5}, {"pairs": 0}])
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="preferences: ties="):
        pairs(**wrong)
