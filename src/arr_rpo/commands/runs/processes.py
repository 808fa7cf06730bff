"""The processes of a run, as commands see them: who starts them, what they train, and how they end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from omegaconf import DictConfig, ListConfig, OmegaConf

from arr_rpo import ranks
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.module import RPOModule
from arr_rpo.run.layout import State
from arr_rpo.strategy import CONFIG, Processes, backend
from arr_rpo.types import UserError


def check(trainer: DictConfig) -> None:
    """Refuses what cannot work, before anything is loaded or written.

    Raises:
        UserError: names the way that works.
    """
    devices, nodes, known = on_a_machine(trainer), trainer.get("num_nodes", 1), trainer.get("strategy")
    ours, several = isinstance(known, DictConfig) and "_target_" in known, devices * nodes > 1
    by = ranks.started_by()
    if (several or by) and not ours:
        what = f"trainer.devices={devices}, trainer.num_nodes={nodes}" if several else f"{by} with {ranks.announced()} tasks"
        raise UserError(
            f"{what}: several processes take trainer=ddp (each has the whole policy) or trainer=fsdp2 (its weights in shards): "
            "docs/scaling.md"
        )
    if by and devices * nodes != ranks.announced():
        raise UserError(
            f"{by} started {ranks.announced()} processes, and trainer.devices={devices} x trainer.num_nodes={nodes} are "
            f"{devices * nodes}: give the processes of a machine in trainer.devices, and the machines in trainer.num_nodes"
        )
    if not by and nodes > 1:
        raise UserError(
            f"trainer.num_nodes={nodes}: on several machines, torchrun or srun starts the processes; docs/scaling.md has "
            "both commands"
        )


def one_process(command: str) -> None:
    """Raises UserError where torchrun or srun started several of a command that does not share its work out."""
    if ranks.announced() > 1:
        raise UserError(f"{command} is one process: start it without torchrun or srun")


def on_a_machine(trainer: DictConfig) -> int:
    """Processes on each machine: `trainer.devices`, a number or a list of GPUs.

    Raises:
        UserError: it is neither.
    """
    devices = trainer.get("devices")
    if isinstance(devices, ListConfig) and devices:
        return len(devices)
    if not isinstance(devices, int) or devices < 1:
        raise UserError(f"trainer.devices={devices}: give the number of processes a machine, or a list of its GPUs")
    return devices


def check_share(trainer: DictConfig, module: Any, data: Any) -> None:
    """Refuses a run whose processes would have nothing to share out.

    Raises:
        UserError: it is a recipe, or an update has fewer prompts than the run has processes.
    """
    if (several := on_a_machine(trainer) * trainer.get("num_nodes", 1)) == 1:
        return
    if not isinstance(module, RPOModule) or not isinstance(data, PromptDataModule):
        raise UserError(f"{type(module).__name__} trains in one process: leave trainer=ddp or fsdp2 out")
    if (prompts := data.prompts_per_update) < several:
        raise UserError(
            f"data.candidates_per_update in groups of algorithm.group_size is {prompts} prompt{'s' * (prompts > 1)} an update "
            f"for {several} processes, which share them out: raise data.candidates_per_update"
        )


def share_cores(config: DictConfig) -> None:
    """Sets the number of CPU threads: what the config says, or an even share of the machine's cores."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    elif (devices := on_a_machine(config.trainer)) > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // devices))


def environment() -> SLURMEnvironment | TorchElasticEnvironment | LightningEnvironment:
    """Where Lightning reads who this process is. Said outright: in an allocation of Slurm's it would take a process that was
    started alone for one of several."""
    if ranks.started_by() == "srun":
        return SLURMEnvironment(auto_requeue=False)
    torchrun = ranks.started_by() == "torchrun"
    return TorchElasticEnvironment() if torchrun else LightningEnvironment()


@contextlib.contextmanager
def at_work(trainer: Any, config: DictConfig, records: RunRecords) -> Iterator[None]:
    """Around the training. An error of the network is told as what it comes from: another process that ended.

    Raises:
        UserError: another process ended, and why, if it could say so.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, Processes):
        yield
        return
    strategy.ending = lambda why: records.folder.say(State.FAILED, records.updates, error=why) if records.begun else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"  # for the processes that Lightning starts
        path.write_text(OmegaConf.to_yaml(config, resolve=False), encoding="utf-8")
        os.environ[CONFIG] = str(path)
        try:
            yield
        except RuntimeError as error:
            if (why := strategy.why(error)) is None:
                raise
            raise UserError(f"{why}. resume={records.folder.path} goes on from the last checkpoint.") from error
        finally:
            strategy.parted()


# -- processes that torchrun or srun started -------------------------------------------------------------------------------


@contextlib.contextmanager
def met(timeout_minutes: float) -> Iterator[None]:
    """Inside, they form a group, whose collective calls wait so long."""
    if ranks.started_by() == "srun":
        slurm = SLURMEnvironment(auto_requeue=False)
        os.environ |= {"MASTER_ADDR": slurm.main_address, "MASTER_PORT": str(slurm.main_port)}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.set_device(ranks.gpu())
    dist.init_process_group(
        backend(device), rank=ranks.rank(), world_size=ranks.announced(), timeout=timedelta(minutes=timeout_minutes)
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
