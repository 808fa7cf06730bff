"""Builds everything that a config names, trains, and says in the run's folder how it ended."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import WandbLogger

from arr_rpo import ranks
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.callbacks.shown import close, describe
from arr_rpo.commands.cli.errors import told
from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.commands.runs import processes
from arr_rpo.commands.runs.foreign import only_files
from arr_rpo.commands.runs.resume import GROUPS
from arr_rpo.commands.runs.start_card import show
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import TRACKERS, TRAINING_STATE, VERSIONS, State, update_of
from arr_rpo.run.provenance import provenance
from arr_rpo.run.signals import Signals
from arr_rpo.types import UserError

KEYS = GROUPS | {"name", "seed", "run_dir", "resume", "checkpoint", "allow", "num_threads", "module", "study"}
IDS = ("id", "run_id")  # what W&B and MLflow know a run by
PACKAGES = ("torch", "diffusers", "transformers", "pytorch-lightning", "peft", "hydra-core")


def train(config: DictConfig) -> None:
    """Builds everything, trains, and says in the run's folder how it ended.

    Raises:
        UserError: something that the user can mend. A run that had begun goes on from its last checkpoint.
    """
    check_keys(config)
    check_trainer(config.trainer)
    if config.resume:
        config.run_dir = str(config.resume)
    folder = RunFolder(config.run_dir, writes=ranks.rank() == 0)
    checkpoint = None
    if config.resume:
        checkpoint = ranks.by_the_first(lambda: folder.checkpoint(config.get("checkpoint", "last")))
        only_files(checkpoint)
        config.checkpoint = update_of(checkpoint.name)
    processes.check(config.trainer)
    processes.share_cores(config)
    ranks.use_gpus(config.trainer.get("devices"), config.trainer.get("accelerator"))
    pl.seed_everything(config.seed, verbose=False)  # the weights that libraries initialise; all else has streams (`noise`)
    quieten()
    with Signals() as signals:
        records = RunRecords(folder, recorded(config), versions(folder), signals)
        with ranks.together():
            trainer, module, data = built(config, checkpoint, records)
        if ranks.rank() == 0:
            show(config, trainer, module, data, 0 if checkpoint is None else update_of(checkpoint.name) or 0)
        gc.freeze()  # what libraries made lasts: to look through it for garbage takes 0.4 s a time
        try:
            if checkpoint is None:  # trackers refuse another value later
                describe(trainer.loggers, OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
            ids = {name: _id(logger) for name, logger in zip(config.logger or {}, trainer.loggers, strict=False)}
            if known := {name: found for name, found in ids.items() if found}:
                folder.json(TRACKERS, known)
            with processes.at_work(trainer, config, records):
                trainer.fit(module, data, ckpt_path=checkpoint and str(checkpoint / TRAINING_STATE), weights_only=True)
        except BaseException as error:
            _ended(records, error)
            raise
        finally:
            gc.unfreeze()
            close(trainer.loggers)
    folder.say(State.FINISHED, records.updates)


def built(config: DictConfig, checkpoint: Path | None, records: RunRecords) -> tuple[pl.Trainer, Any, Any]:
    """Trainer, module and data of a config."""
    callbacks = [instantiate(callback) for callback in (config.callbacks or {}).values() if callback]
    if not config.trainer.enable_progress_bar:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    trainer = instantiate(
        config.trainer,
        plugins=[*instantiate(config.trainer.plugins), processes.environment()],
        logger=[_logger(name, logger, checkpoint, records.folder) for name, logger in (config.logger or {}).items() if logger],
        callbacks=[records, *callbacks],
    )
    module, data = instantiate(config.module), instantiate(config.get("data"))  # recipes bring their own data
    processes.check_share(config.trainer, module, data)
    return trainer, module, data


def _logger(name: str, config: DictConfig, checkpoint: Path | None, folder: RunFolder) -> Any:
    """One that can is told where the curves go on, so that none has a point twice, or which of a tracker's runs this one is."""
    go_on: dict[str, Any] = {}
    if checkpoint is not None:
        go_on = {"purge_step": update_of(checkpoint.name)} if "purge_step" in config else {}
        go_on |= {key: found for key in IDS if key in config and (found := folder.trackers().get(name)) is not None}
    try:
        return instantiate(config, **go_on)
    except InstantiationException as error:
        if isinstance(error.__cause__, ImportError):
            raise UserError(f"logger={name}: its package is not installed: pip install 'arr_rpo[{name}]'") from error
        raise


def _id(logger: Any) -> str | None:
    """What a tracker knows the run by; None of a logger that writes into the run's folder."""
    return logger.version if isinstance(logger, WandbLogger) else getattr(logger, "run_id", None)


def _ended(records: RunRecords, error: BaseException) -> None:
    """Says how a run ended before its end: it was stopped (Ctrl-C and SIGTERM end in SystemExit), or it failed."""
    folder, stopped = records.folder, isinstance(error, SystemExit | KeyboardInterrupt)
    if records.begun:
        why = {} if stopped else {"error": (isinstance(error, Exception) and told(error)) or f"{type(error).__name__}: {error}"}
        with contextlib.suppress(UserError):  # the disk may be what is full
            folder.say(State.STOPPED if stopped else State.FAILED, records.updates, **why)
    if stopped and folder.writes:
        if folder.checkpoints():
            quoted = f"\"resume='{folder.path}'\"" if "=" in str(folder.path) else f"resume={folder.path}"  # a multirun's
            print(f"stopped: go on with {quoted}", file=sys.stderr)
        else:
            print("stopped before the first checkpoint", file=sys.stderr)
    if stopped:
        code = error.code if isinstance(error, SystemExit) else None
        raise SystemExit(code or 128 + signal.SIGTERM) from error


def check_keys(config: DictConfig) -> None:
    """Refuses top-level keys that nothing reads; within a group, `_target_`'s own signature does the same."""
    if unknown := sorted(set(map(str, config)) - KEYS):
        raise UserError(f"unknown config key {unknown[0]!r}: known are {', '.join(sorted(KEYS))}")


def check_trainer(trainer: DictConfig) -> None:
    """Refuses options of Lightning's that would repeat an update's noise, or that manual optimization cannot have."""
    instead = {
        "max_epochs": ((1,), "data.updates is the length of a run"),
        "max_steps": ((-1,), "data.updates is the length of a run"),
        "gradient_clip_val": ((), "algorithm.max_grad_norm clips"),
        "accumulate_grad_batches": ((1,), "algorithm.microbatch_size adds gradients up"),
        "precision": ((32, "32", "32-true"), "policy.dtype is what computes; a LoRA and the optimizer stay in float32"),
    }
    for key, (values, advice) in instead.items():
        if (given := trainer.get(key)) is not None and given not in values:
            raise UserError(f"trainer.{key}={given} does not fit this training: leave it out; {advice}")


def recorded(config: DictConfig) -> str:
    """The config as YAML, with its references, so that a value on `resume=` reaches all that refers to it."""
    whole = OmegaConf.to_container(config, resolve=True)  # a reference to nothing ends here
    assert isinstance(whole, dict)
    for key in {"name", "run_dir", "study"} & set(whole):  # what refers to Hydra is of this command
        config[key] = whole[key]
    return OmegaConf.to_yaml(config, resolve=False)


def versions(folder: RunFolder) -> dict[str, Any]:
    """Packages, commit and commands, for `versions.json`."""
    found: dict[str, Any] = {package: version(package) for package in PACKAGES}
    return {**found, "python": platform.python_version(), "cpus": os.cpu_count(), **provenance(folder.path / VERSIONS)}
