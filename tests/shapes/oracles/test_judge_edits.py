"""The oracle in every role of a judge and a writer, on edits of a drawn source."""

from __future__ import annotations

import pytest
from PIL import Image

from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world.edits import Edit, to_metadata
from arr_rpo.shapes.world.general import EDIT_DIMENSIONS, EDIT_GENERAL
from arr_rpo.shapes.world.scene import Scene, Thing, draw
from arr_rpo.types import Criterion, Outcome, Preference, Prompt, Rubric, UserError

JUDGE = OracleJudge()
CIRCLE, SQUARE = Thing("red", "circle", 8.0, 8.0, 5.5), Thing("green", "square", 24.0, 24.0, 5.5)
BLUE = Thing("blue", "circle", 8.0, 8.0, 5.5)
SOURCE: Scene = (CIRCLE, SQUARE)
EDIT = Edit("recolour", "red", "circle", 0, "blue", "circle", 0)
PROMPT = Prompt("e", "make the red circle blue", to_metadata(SOURCE, EDIT), draw(SOURCE))
RIGHT, UNCHANGED, ALONE = draw((BLUE, SQUARE)), draw(SOURCE), draw((BLUE,))
MADE = ("instruction", "is there a blue circle upper left?")
KEPT = ("preservation", "is there a green square lower right?")
TOTAL = ("preservation", "are there exactly two objects in total?")


def asked(text: str) -> list[tuple[str, str]]:
    return [(criterion.name, criterion.question) for criterion in parse_rubric(text, {}).criteria]


def preference(a: Image.Image, b: Image.Image, better: Outcome = Outcome.A) -> Preference:
    return Preference("x", PROMPT, a, b, better)


def test_a_verdict_tells_instruction_and_preservation_apart() -> None:
    pairs = [(RIGHT, UNCHANGED), (ALONE, RIGHT), (UNCHANGED, ALONE)]
    first, second, third = JUDGE.compare([PROMPT] * 3, pairs, [None] * 3)
    assert [(c.name, c.a, c.b) for c in first.checks] == [(MADE[0], 1, 0), (KEPT[0], 1, 1), (TOTAL[0], 1, 1)]
    assert [(c.a, c.b) for c in second.checks] == [(1, 1), (0, 1), (0, 1)]
    assert [v.outcome for v in (first, second, third)] == [Outcome.A, Outcome.B, Outcome.A]  # the last 2 to 1


def test_general_criteria_are_read_with_the_edit() -> None:
    rubric = Rubric(tuple(Criterion(name, EDIT_GENERAL[name]) for name in ("instruction", "others", "overall")))
    (verdict,) = JUDGE.compare([PROMPT], [(ALONE, UNCHANGED)], [rubric])
    assert [(c.a, c.b) for c in verdict.checks] == [(1, 0), (0, 1), (0, 0)]
    assert verdict.outcome is Outcome.TIE
    answers = JUDGE.check([PROMPT] * 2, [RIGHT] * 2, [EDIT_GENERAL["overall"], "does the image show what the prompt says?"])
    assert [answer.value for answer in answers] == [1.0, None]  # the second is asked of prompts without a source


def test_scores_follow_the_share_of_criteria() -> None:
    scores = JUDGE.score([PROMPT] * 3, [RIGHT, UNCHANGED, ALONE])  # 3, 2 and 1 of 3
    assert [score.value for score in scores] == pytest.approx([5, 1 + 8 / 3, 1 + 4 / 3])


def test_critiques_are_in_the_dimensions_of_an_edit() -> None:
    unchanged, alone = JUDGE.critique([PROMPT] * 2, [UNCHANGED, ALONE], EDIT_DIMENSIONS)
    assert unchanged.dimensions == {"instruction": 1.0, "preservation": 4.0, "extras": 4.0}
    assert alone.dimensions == {"instruction": 4.0, "preservation": 1.0, "extras": 4.0}
    assert alone.text == "instruction: right. preservation: no green square lower right. extras: nothing."
    with pytest.raises(UserError, match=r"no dimension 'colors' here: it grades instruction, preservation, extras"):
        JUDGE.critique([PROMPT], [RIGHT], ["colors"])


def test_plans_and_rubrics() -> None:
    plans, _ = JUDGE.plan([PROMPT] * 2, [(RIGHT, UNCHANGED), (RIGHT, RIGHT)])
    assert [asked(plan) for plan in plans] == [[MADE], [MADE, KEPT, TOTAL]]
    writer = JUDGE.writer
    assert asked(writer.write([PROMPT])[0][0]) == [MADE, KEPT, TOTAL]
    pairs = [preference(RIGHT, ALONE), preference(UNCHANGED, RIGHT, Outcome.B)]
    assert [asked(text) for text in writer.write_from_pairs(pairs, role="write_pair")[0]] == [[KEPT, TOTAL], [MADE]]
    general = [[name for name, _ in asked(text)] for text in writer.write_from_pairs(pairs, role="write_general")[0]]
    assert general == [["others", "places", "overall"], ["instruction", "overall"]]
    wrong = Rubric((Criterion("c", "is there a red circle upper left?"), Criterion("c", TOTAL[1])))
    verdicts = JUDGE.compare([PROMPT], [(RIGHT, UNCHANGED)], [wrong])
    (refined,), _ = writer.refine([preference(RIGHT, UNCHANGED)], [wrong], verdicts)
    assert asked(refined) == [MADE, TOTAL]


def test_a_prompt_of_another_world_is_named() -> None:
    with pytest.raises(UserError, match=r"prompt 'x' \('add a hat'\) is neither"):
        JUDGE.score([Prompt("x", "add a hat", {}, RIGHT)], [RIGHT])
