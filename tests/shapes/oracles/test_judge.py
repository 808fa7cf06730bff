"""The oracle in every role of a judge and a writer, on drawn scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import RubricError, parse_rubric
from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world.general import DIMENSIONS, GENERAL, critique_text
from arr_rpo.shapes.world.prompts import describe, mistaken, random_metadata, scene_of
from arr_rpo.shapes.world.questions import questions_of
from arr_rpo.shapes.world.scene import Scene, Thing, draw
from arr_rpo.shapes.world.vocabulary import TAGS
from arr_rpo.types import Cost, Criterion, Outcome, Preference, Prompt, Reason, Rubric, UserError

JUDGE = OracleJudge()
METADATA: dict[str, Any] = {
    "tag": "position",
    "include": [
        {"class": "square", "count": 1, "color": "blue"},
        {"class": "circle", "count": 1, "color": "red", "position": ["left of", 0]},
    ],
}
PROMPT = Prompt("p", describe(METADATA), METADATA)
SQUARE, CIRCLE, LEFT, TWO = (
    "is there a blue square?",
    "is there a red circle?",
    "is the red circle left of the blue square?",
    "are there exactly two objects in total?",
)


def picture(*kinds: tuple[str, str, float]) -> Image.Image:
    """Things in a row, at given x."""
    scene: Scene = tuple(Thing(color, shape, x, 8.0, 5.5) for color, shape, x in kinds)
    return draw(scene)


RIGHT = picture(("red", "circle", 8), ("blue", "square", 24))
SWAPPED = picture(("blue", "square", 8), ("red", "circle", 24))
ALONE = picture(("red", "circle", 8))


def rubric(*questions: str) -> Rubric:
    return Rubric(tuple(Criterion("c", question) for question in questions))


def asked(text: str) -> list[str]:
    return [criterion.question for criterion in parse_rubric(text, {}).criteria]


def preference(a: Image.Image, b: Image.Image, better: Outcome = Outcome.A) -> Preference:
    return Preference("x", PROMPT, a, b, better)


def test_a_verdict_by_the_prompts_own_criteria() -> None:
    better, worse, tie = JUDGE.compare([PROMPT] * 3, [(RIGHT, ALONE), (ALONE, SWAPPED), (RIGHT, RIGHT)], [None] * 3)
    assert [(c.question, c.a, c.b) for c in better.checks] == [(SQUARE, 1, 0), (CIRCLE, 1, 1), (LEFT, 1, 0), (TWO, 1, 0)]
    assert [v.outcome for v in (better, worse, tie)] == [Outcome.A, Outcome.B, Outcome.TIE]
    assert [v.p_a_by_order for v in (better, worse, tie)] == [(1, 1), (0, 0), (0.5, 0.5)]
    assert better.cost == Cost(2, 0)


def test_a_verdict_by_a_given_rubric_alone() -> None:
    pair = (ALONE, RIGHT)
    one, both = JUDGE.compare([PROMPT] * 2, [pair] * 2, [rubric("is there exactly one object in total?"), rubric(CIRCLE)])
    assert (one.outcome, both.outcome) == (Outcome.A, Outcome.TIE)


def test_general_criteria_are_read_with_the_prompt() -> None:
    (verdict,) = JUDGE.compare([PROMPT], [(SWAPPED, RIGHT)], [rubric(GENERAL["objects"], GENERAL["positions"])])
    assert [(c.a, c.b) for c in verdict.checks] == [(1, 1), (0, 1)]
    assert verdict.outcome is Outcome.B


def test_a_question_of_another_world_has_no_answer() -> None:
    (verdict,) = JUDGE.compare([PROMPT], [(RIGHT, ALONE)], [rubric(CIRCLE, "is the first image better?")])
    assert (verdict.outcome, verdict.p_a) == (Outcome.FAILED, None)
    assert "is the first image better?" in verdict.reason
    yes, no, other = JUDGE.check([PROMPT] * 3, [RIGHT, ALONE, RIGHT], [SQUARE, SQUARE, "is it art?"])
    assert (yes.value, no.value, other.value) == (1.0, 0.0, None)
    assert "is it art?" in other.reason


def test_checks_of_general_criteria() -> None:
    answers = JUDGE.check([PROMPT] * 4, [RIGHT, SWAPPED] * 2, [GENERAL["overall"]] * 2 + [GENERAL["colors"]] * 2)
    assert [answer.value for answer in answers] == [1.0, 0.0, 1.0, 1.0]


def test_scores_follow_the_share_of_criteria() -> None:
    scores = JUDGE.score([PROMPT] * 3, [RIGHT, SWAPPED, ALONE])  # 4, 3 and 1 of 4
    assert [score.value for score in scores] == [5.0, 4.0, 2.0]


def test_critiques_have_words_and_grades() -> None:
    right, swapped = JUDGE.critique([PROMPT] * 2, [RIGHT, SWAPPED], ["positions", "objects"])
    assert right.dimensions == {"positions": 4.0, "objects": 4.0}
    assert swapped.dimensions == {"positions": 1.0, "objects": 4.0}
    assert (right.value, swapped.value) == (4.0, 3.0)  # 1 + 3 * 3 / 4 = 3.25
    assert swapped.text == critique_text(detect(SWAPPED), METADATA)
    colors_only = Prompt("c", "a red circle", {"tag": "colors", "include": [{"class": "circle", "color": "red", "count": 1}]})
    (critique,) = JUDGE.critique([colors_only], [ALONE], DIMENSIONS)
    assert critique.dimensions["positions"] is None
    with pytest.raises(UserError, match="beauty"):
        JUDGE.critique([PROMPT], [RIGHT], ["beauty"])


def test_a_plan_is_what_the_images_disagree_on_whatever_their_order() -> None:
    plans, cost = JUDGE.plan([PROMPT] * 3, [(RIGHT, SWAPPED), (SWAPPED, RIGHT), (RIGHT, RIGHT)])
    assert [asked(plan) for plan in plans] == [[LEFT], [LEFT], [SQUARE, CIRCLE, LEFT, TWO]]
    assert cost.calls == 3


def test_the_writer_knows_a_prompts_criteria() -> None:
    (text,), cost = JUDGE.writer.write([PROMPT])
    assert asked(text) == [SQUARE, CIRCLE, LEFT, TWO]
    assert cost.calls == 1
    with pytest.raises(UserError, match="knows scenes and edits of the shapes world"):
        JUDGE.writer.write([Prompt("q", "a cat")])


def test_criteria_that_explain_a_preference() -> None:
    pairs = [preference(RIGHT, SWAPPED), preference(ALONE, RIGHT, Outcome.B)]
    own, _ = JUDGE.writer.write_from_pairs(pairs, role="write_pair")
    assert [asked(text) for text in own] == [[LEFT], [SQUARE, LEFT, TWO]]
    anyones, _ = JUDGE.writer.write_from_pairs(pairs, role="write_general")
    names = ["objects", "colors", "numbers", "positions", "overall"]
    assert asked(anyones[0]) == [GENERAL["positions"], GENERAL["overall"]]
    assert asked(anyones[1]) == [GENERAL[name] for name in names]


@pytest.mark.parametrize(
    ("a", "b", "better"),
    [(RIGHT, SWAPPED, Outcome.B), (SWAPPED, RIGHT, Outcome.A), (RIGHT, SWAPPED, Outcome.TIE), (SWAPPED, RIGHT, Outcome.TIE)],
)
def test_nothing_explains_a_wrong_label_or_a_tie(a: Image.Image, b: Image.Image, better: Outcome) -> None:
    (text,), _ = JUDGE.writer.write_from_pairs([preference(a, b, better)], role="write_pair")
    with pytest.raises(RubricError, match="0 criteria"):
        parse_rubric(text, {})


def test_refining_keeps_what_is_right_drops_what_is_wrong_and_adds_what_explains() -> None:
    pair = preference(SWAPPED, RIGHT, Outcome.B)
    given = rubric("is there a green star?", TWO, GENERAL["extras"], "is the first image better?")
    verdicts = JUDGE.compare([PROMPT], [(pair.a, pair.b)], [given])
    (text,), _ = JUDGE.writer.refine([pair], [given], verdicts)
    assert asked(text) == [LEFT, TWO, GENERAL["extras"]]
    (verdict,) = JUDGE.compare([PROMPT], [(pair.a, pair.b)], [parse_rubric(text, {})])
    assert verdict.outcome is Outcome.B


def test_structure_groups_by_theme() -> None:
    criteria = [Criterion("c", question) for question in (TWO, SQUARE, LEFT, GENERAL["numbers"])]
    replies, _ = JUDGE.writer.structure([criteria, [Criterion("c", "is it art?")]])
    structured, unknown = replies
    assert structured == (
        '{"themes":[{"theme":"numbers","criteria":[1,4]},{"theme":"content","criteria":[2]},{"theme":"positions","criteria":[3]}]}'
    )
    assert isinstance(unknown, NoAnswer)
    assert unknown.reason is Reason.UNKNOWN_QUESTION


@pytest.mark.parametrize("tag", TAGS)
def test_all_roles_agree_on_drawn_scenes(tag: str) -> None:
    """A right picture beats a wrong one by rubric, score, checks and plan alike."""
    rng, seen = np.random.default_rng(5), 0
    while seen < 3:
        metadata = random_metadata(tag, rng)
        wrong_content = mistaken(metadata, 0.6, rng)
        scene, wrong = scene_of(metadata, rng), scene_of(wrong_content, rng)
        questions = questions_of(metadata)
        if all(question.answer(wrong) for question in questions):
            continue
        seen += 1
        prompt, pair = Prompt("d", describe(metadata), metadata), (draw(wrong), draw(scene))
        (text,), _ = JUDGE.writer.write([prompt])
        assert JUDGE.compare([prompt], [pair], [parse_rubric(text, {})])[0].outcome is Outcome.B
        scores = [score.value for score in JUDGE.score([prompt] * 2, pair)]
        assert scores[0] < scores[1] == 5  # type: ignore[operator]
        answers = JUDGE.check([prompt] * len(questions), [pair[0]] * len(questions), [str(q) for q in questions])
        assert [answer.value for answer in answers] == [float(q.answer(wrong)) for q in questions]
        (plan,), _ = JUDGE.plan([prompt], [pair])
        assert asked(plan) == [str(q) for q in questions if not q.answer(wrong)]
