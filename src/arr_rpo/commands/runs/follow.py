"""What a run's further processes do: train what process 0 trains. `python -m arr_rpo.commands.runs.follow` is one that
Lightning started."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from arr_rpo import ranks
from arr_rpo.commands.cli.errors import plain_errors, say
from arr_rpo.commands.runs.processes import met
from arr_rpo.commands.runs.training import recorded, train
from arr_rpo.strategy import CONFIG


@plain_errors
def main() -> None:
    """Trains the config of the file that process 0 names."""
    train(_read(Path(os.environ[CONFIG]).read_text(encoding="utf-8")))


def among_others(run: Callable[[Callable[[DictConfig], None]], float | None], timeout_minutes: float) -> float | None:
    """In a process that torchrun or srun started: the first one does `run(train)`, the others train whatever it trains."""
    with met(timeout_minutes):
        if ranks.rank():
            _follow()
            return None
        try:
            return run(_lead)
        finally:
            with contextlib.suppress(RuntimeError):  # the others may have ended with an error of the training
                ranks.first("")


def _follow() -> None:
    """A run that fails is told, and the next one waited for: of several, process 0 decides whether there is one."""
    failed = False
    while said := ranks.first(""):
        try:
            train(_read(said))
        except Exception as error:
            failed = True
            if not say(error):
                traceback.print_exc()
            if not ranks.agreed(error):
                break  # this process is out of step with the others
    if failed:
        raise SystemExit(1)


def _read(text: str) -> DictConfig:
    config = OmegaConf.create(text)
    assert isinstance(config, DictConfig)
    return config


def _lead(config: DictConfig) -> None:
    ranks.first(recorded(config))
    train(config)


if __name__ == "__main__":
    main()
