"""The fixed rubric of edits of the shapes world."""

from __future__ import annotations

import PIL.Image
from hydra.utils import instantiate

from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world.edits import INSTRUCTION, PRESERVATION
from arr_rpo.shapes.world.general import EDIT_GENERAL
from arr_rpo.types import Prompt
from tests.conftest import configure


def test_it_asks_what_the_judge_was_taught() -> None:
    config = configure(["experiment=t2i_rpo", "rubric=fixed_five"])
    [rubric] = instantiate(config.rubric).rubrics([Prompt("1", "p", source=PIL.Image.new("RGB", (8, 8)))], OracleJudge())
    assert {c.name: c.question for c in rubric.criteria} == EDIT_GENERAL
    assert {c.theme for c in rubric.criteria} == {INSTRUCTION, PRESERVATION}
