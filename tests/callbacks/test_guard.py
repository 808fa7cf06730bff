"""Runs that learn nothing end with a message that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from arr_rpo.algorithm.finite import NonFiniteError
from arr_rpo.callbacks.guard import Guard
from arr_rpo.types import UserError
from tests.callbacks.doubles import trainer_with
from tests.test_module import module_with


def ended(folder: Path, guard: Guard, module: Any, update: int = 0) -> None:
    guard.on_train_batch_end(trainer_with(folder), module, None, (update, ()), update)


def test_skipped_updates_in_a_row_end_the_run_also_over_a_resume(tmp_path: Path) -> None:
    module, _ = module_with()
    guard = Guard(max_skipped=3, max_kept=1, max_silent=9)
    bad = NonFiniteError("1 of 4 numbers of the gradient of a.b are not finite")
    module.inputs = {"the rewards": torch.tensor([float("nan"), 1.0])}
    module.metrics = {"reward/silent_groups": 0.5, "reward/advantage_abs": 0.1}
    for module.bad in (bad, bad, None, bad, bad):  # a good one between them
        ended(tmp_path, guard, module)
    again = Guard(max_skipped=3, max_kept=1, max_silent=9)
    again.load_state_dict(guard.state_dict())
    with pytest.raises(UserError, match=r"3 updates in a row.*update 7.*the gradient of a\.b"):
        ended(tmp_path, again, module, update=7)
    assert again.skipped == 5
    (kept,) = (tmp_path / "skipped").iterdir()  # not more than it should
    with safe_open(kept, "pt") as file:
        assert file.metadata()["reason"] == str(bad)
        assert file.get_tensor("the rewards").isnan().tolist() == [True, False]


def test_updates_without_a_group_that_says_anything_end_the_run(tmp_path: Path) -> None:
    module, _ = module_with()
    guard = Guard(max_skipped=3, max_kept=1, max_silent=2)
    for silent in (1.0, 0.5, 1.0):
        module.metrics = {"reward/silent_groups": silent, "reward/advantage_abs": 1.0 - silent, "judge/valid": 0.25}
        ended(tmp_path, guard, module)
    with pytest.raises(UserError, match=r"2 updates in a row.*no group had two candidates.*\(25% of the last"):
        ended(tmp_path, guard, module)


def test_where_groups_of_one_have_advantages_something_is_learned(tmp_path: Path) -> None:
    """As of raw grades: no group has two candidates, and every candidate counts."""
    module, _ = module_with()
    guard = Guard(max_skipped=3, max_kept=1, max_silent=1)
    module.metrics = {"reward/silent_groups": 1.0, "reward/advantage_abs": 0.4}
    ended(tmp_path, guard, module)
    assert guard.silent_in_a_row == 0
