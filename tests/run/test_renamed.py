"""Configs of before: what they name is there under today's name, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.utils import get_object

from arr_rpo.run.renamed import MODULES, NAMES, OURS, renamed


def config(oracle: str, formulas: str, rule: str) -> dict[str, Any]:
    return {
        "judge": {"_target_": f"arr_rpo.shapes.{oracle}.OracleJudge", "seed": 3},
        "algorithm": [{"_target_": "hydra.utils.get_method", "path": f"arr_rpo.{formulas}.losses.step_kl"}, None, 0.5],
        "rule": {"_target_": f"arr_rpo.evaluation.alarm.{rule}"},
        "not a name": ["see arr_rpo.evaluation.alarm.Rule", "evaluation.alarm.Rule", "mine.arr_rpo.algorithm.losses.x"],
    }


def test_names_by_module_and_by_themselves() -> None:
    before = config("oracle_judge", "algorithm", "Rule")
    assert renamed(before) == config("oracles.judge", "formulas", "AlarmRule")
    assert before == config("oracle_judge", "algorithm", "Rule")  # it is a copy


@pytest.mark.parametrize("new", [*MODULES.values(), *NAMES.values()])
def test_what_it_is_called_now_is_there(new: str) -> None:
    assert get_object(OURS + new)


@pytest.mark.parametrize("old", [*MODULES, *NAMES])
def test_names_of_now_stay(old: str) -> None:
    """No name of today is one of before: a config of today is not touched."""
    name = f"{OURS}{MODULES[old]}.Anything" if old in MODULES else OURS + NAMES[old]
    assert renamed(name) == name


def test_a_file_of_that_name_is_no_name() -> None:
    assert renamed("arr_rpo.jsonl") == "arr_rpo.jsonl"
