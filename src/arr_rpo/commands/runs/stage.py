"""The folder of a run: how far the run came, and whether it is the run that is asked for."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from arr_rpo.commands.runs.foreign import read_config
from arr_rpo.run import recorded
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import LOCK
from arr_rpo.types import UserError

# What does not change a run's result: where and how it is run and watched, and what is said of the study it is part of.
NOT_COMPARED = (
    *("run_dir", "resume", "checkpoint", "allow", "num_threads", "study", "logger"),
    *(f"trainer.{key}" for key in ("devices", "num_nodes", "strategy", "accelerator", "use_distributed_sampler")),
    *("trainer.enable_progress_bar", "callbacks.progress", "callbacks.checkpoint"),
)
# Of a judge's model: how it is reached and how much it is asked at once, not what it says. A server may move.
SERVING = (
    *("base_url", "api_key_env", "headers", "timeout", "concurrency", "retries", "first_wait", "max_wait", "breaker"),
    *("max_reply_bytes", "key_over_http", "check_at_start"),
    *("cache_dir", "cache_mb", "record_dir", "replay_dir", "batch_size", "share_prefixes"),
)
JUDGE_MODEL = "judge.model."
REPLIES = "judge_replies"  # configs/judge/server.yaml


class Stage(StrEnum):
    """How far a run came. BEGUN: to no checkpoint. STOPPED: to its last checkpoint. FINISHED: to its end."""

    EMPTY = "empty"
    BEGUN = "begun"
    STOPPED = "stopped"
    FINISHED = "finished"


class OtherRunError(UserError):
    """The folder holds a run with another config."""


def stage(run_dir: Path, config: DictConfig) -> Stage:
    """How far the run of `config` came in its folder.

    Raises:
        OtherRunError: the folder holds a run with another config.
    """
    if not (run_dir / "config.yaml").is_file():
        return Stage.EMPTY
    if differing := differences(run_dir, config):
        shown = "; ".join(f"{key} is {there} there and {here} here" for key, (there, here) in list(differing.items())[:6])
        more = f"; and {len(differing) - 6} more" if len(differing) > 6 else ""
        raise OtherRunError(
            f"{run_dir} holds a run with another config: {shown}{more}. Give the values that it has, another folder "
            "(hydra.sweep.dir=..., or hydra.sweep.subdir='${hydra:job.override_dirname}'), or remove it."
        )
    folder = RunFolder(run_dir)
    if folder.finished():
        return Stage.FINISHED
    return Stage.STOPPED if folder.checkpoints() else Stage.BEGUN


def objective(run_dir: Path) -> float | None:
    """The run's own measure, the first, after training; None of a run without a summary, or that was not measured."""
    found: Any = next(iter(recorded.measures(RunFolder(run_dir).summary() or {}).values()), {})
    after = found.get("after") if isinstance(found, dict) else None
    return None if after is None else float(after)


def differences(run_dir: Path, config: DictConfig) -> dict[str, tuple[str, str]]:
    """Key -> (value in the folder's config, value in `config`) of all that would not be the same run, "nothing" for no value.

    Paths in the run's own folder are the same wherever that folder lies.

    Raises:
        OtherRunError: the folder's config cannot be read.
    """
    path = run_dir / "config.yaml"
    try:
        there = _leaves(read_config(path))
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise OtherRunError(f"{path} cannot be read ({error}): remove {run_dir}, and the run starts anew") from error
    here = _leaves(OmegaConf.create(OmegaConf.to_yaml(config, resolve=True)))
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key) or (key in there) != (key in here)]
    return {key: (_shown(there, key), _shown(here, key)) for key in keys if not _of_no_result(key)}


def clear(run_dir: Path) -> None:
    """Removes what a start that came to no checkpoint left, so that the run does not write the same updates twice. What a
    server judge replied stays: it was paid for, and it is known by what was asked."""
    for path in run_dir.iterdir():
        if path.name == REPLIES:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK and path.suffix != ".log":  # Hydra has the log open
            path.unlink()


def _leaves(config: DictConfig | ListConfig) -> dict[str, Any]:
    """A config's values by dotted key. Values that lie in the run's folder begin with "<run>"."""
    found = OmegaConf.to_container(config, resolve=True)
    if not isinstance(found, dict) or "run_dir" not in found:
        raise ValueError("it names no run_dir")
    run_dir = str(found["run_dir"])
    leaves: dict[str, Any] = {}

    def walk(value: Any, key: str) -> None:
        if isinstance(value, dict | list) and value:
            for name, part in value.items() if isinstance(value, dict) else enumerate(value):
                walk(part, f"{key}.{name}" if key else str(name))
        else:
            leaves[key] = _relative(value, run_dir) if isinstance(value, str) else value

    walk(found, "")
    return leaves


def _relative(value: str, run_dir: str) -> str:
    path, folder = Path(value).absolute(), Path(run_dir).absolute()
    return f"<run>/{path.relative_to(folder)}" if path.is_relative_to(folder) else value


def _shown(leaves: dict[str, Any], key: str) -> str:
    return str(leaves[key]) if key in leaves else "nothing"


def _of_no_result(key: str) -> bool:
    """Whether a value at this key changes no result, in `judge` itself or in its copies (`callbacks.rubric_reward.judge`)."""
    model, option = key.rpartition(JUDGE_MODEL)[1:]
    return (bool(model) and option in SERVING) or any(f"{key}.".startswith(f"{known}.") for known in NOT_COMPARED)
