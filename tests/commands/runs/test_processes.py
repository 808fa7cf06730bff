"""Processes that cannot work together are refused before anything is loaded or written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hydra.utils import instantiate

from arr_rpo.commands.runs import processes
from arr_rpo.module import RPOModule
from arr_rpo.types import UserError
from tests.conftest import configure

DDP = ("trainer=ddp", "trainer.devices=2")
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}


def trainer(*overrides: str) -> Any:
    return configure(["experiment=t2i_rpo", *overrides]).trainer


@pytest.mark.parametrize(
    ("overrides", "environment", "told"),
    [
        (("trainer.devices=2",), {}, "trainer=ddp (each has the whole policy) or trainer=fsdp2"),
        ((), TORCHRUN, "torchrun with 2 tasks: several processes take trainer=ddp"),
        ((), SRUN, "srun with 4 tasks: several processes take trainer=ddp"),
        (("trainer=ddp", "trainer.devices=1"), TORCHRUN, "torchrun started 2 processes, and trainer.devices=1"),
        ((*DDP, "trainer.num_nodes=4"), SRUN, "srun started 4 processes, and trainer.devices=2 x trainer.num_nodes=4 are 8"),
        ((*DDP, "trainer.num_nodes=2"), {}, "on several machines, torchrun or srun starts the processes"),
        (("trainer=ddp", "trainer.devices=all"), {}, "trainer.devices=all: give the number of processes a machine"),
    ],
)
def test_refused(overrides: tuple[str, ...], environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=re.escape(told)):
        processes.check(trainer(*overrides))


@pytest.mark.parametrize(
    ("overrides", "environment"),
    [
        ((), {}),
        (DDP, {}),
        (DDP, TORCHRUN),
        ((*DDP, "trainer.num_nodes=2"), SRUN),
        (("trainer=ddp", "trainer.devices=[0,3]"), {}),
    ],
)
def test_accepted(overrides: tuple[str, ...], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.check(trainer(*overrides))


def test_fewer_prompts_than_processes() -> None:
    config = configure(["experiment=t2i_rpo", *DDP, "data.candidates_per_update=2"])
    module, data = RPOModule.__new__(RPOModule), instantiate(config.data)
    with pytest.raises(UserError, match="1 prompt an update for 2 processes"):
        processes.check_share(config.trainer, module, data)
    with pytest.raises(UserError, match="object trains in one process: leave trainer=ddp or fsdp2 out"):
        processes.check_share(config.trainer, object(), data)
