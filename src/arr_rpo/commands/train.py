"""`arr-rpo train experiment=...`: composes the config, and trains.

What trains is imported when there is something to train: `--help` and a misspelt key are answered at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from arr_rpo import ranks
from arr_rpo.commands.cli.entry import entry
from arr_rpo.commands.runs.resume import past_hydra, resumed
from arr_rpo.commands.runs.stage import Stage, objective, stage
from arr_rpo.commands.runs.sweep import in_sweep, run_in_sweep
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import CONFIG
from arr_rpo.run.lock import occupied
from arr_rpo.run.slurm import restarted, step
from arr_rpo.types import UserError


def _log_folder(resume: str | None, fresh: str) -> str:
    """Where Hydra puts its log: into the run's folder, which is named, goes on, or is new. Each process that torchrun or srun
    starts comes by here; the first one's folder is the run's, of a step of Slurm's one that its next start finds again."""
    if ranks.announced() > 1 and ranks.rank():
        return str(Path(tempfile.gettempdir()) / f"arr_rpo_{os.getuid()}_process_{ranks.rank()}")
    if (job := step()) is not None:
        fresh = str(Path(fresh).parent / f"slurm_{job}")
    if resume and (Path(resume) / CONFIG).is_file():
        return str(resume)
    named = [argument.removeprefix("run_dir=").strip("'\"") for argument in sys.argv if argument.startswith("run_dir=")]
    return named[-1] if named else fresh


OmegaConf.register_new_resolver("folder_of", _log_folder, replace=True)


@entry(
    "train",
    {
        "experiment=t2i_rpo": "what is run: policy, judge, reward, algorithm and data that fit together",
        "seed=1,2,3 (with -m)": "a run for each seed",
        "resume=runs/...": "go on with a run that was stopped",
    },
    arguments_of=past_hydra,
)
def main(config: DictConfig) -> float | None:
    """Runs one experiment in its own folder, or goes on with one that was stopped (`resume=<run folder>`).

    Returns:
        The run's own measure after training, what a hyper-parameter search maximises; None where it is not measured.
    """
    if ranks.announced() == 1:
        return run(config)
    if in_sweep() and ranks.started_by() == "torchrun":
        raise UserError(
            "a sweep starts the processes of each of its runs: leave torchrun out and give trainer.devices, or take "
            "hydra/launcher=submitit_slurm with tasks_per_node (docs/scaling.md)"
        )
    from arr_rpo.commands.runs.follow import among_others

    strategy = config.trainer.get("strategy") or {}  # without one the run is refused
    return among_others(lambda train: run(config, train), strategy.get("timeout_minutes", 1))


def run(config: DictConfig, train: Callable[[DictConfig], None] | None = None) -> float | None:
    """Trains, in a folder that nobody else is at work in. `resume=auto`, and a job that Slurm or torchrun started once more, go
    on with what the same command left in `run_dir`.

    train: None imports the one that does it in this process.
    """
    if config.resume == "auto" or (not config.resume and restarted()):
        config.resume = None
        if not in_sweep():
            found = stage(Path(config.run_dir), config)
            if found is Stage.FINISHED:
                print(f"{config.run_dir} holds this run, finished")
                return objective(Path(config.run_dir))
            config.resume = str(config.run_dir) if found is Stage.STOPPED else None
    elif config.resume:
        config = resumed(str(config.resume), list(HydraConfig.get().overrides.task), config)
    if train is None:
        from arr_rpo.commands.runs.training import train
    assert train is not None
    if not config.resume and in_sweep():
        return run_in_sweep(config, train)
    run_dir = Path(config.resume or config.run_dir)
    if not config.resume and (held := RunFolder(run_dir)).state() and (held.finished() or held.checkpoints()):
        raise UserError(
            f"{run_dir} holds a run already, {'finished' if held.finished() else 'with checkpoints'}, which another would "
            f"replace: give another run_dir, remove that folder, or go on with it (resume={run_dir}, or resume=auto)"
        )
    with occupied(run_dir):
        train(config)
        from arr_rpo.commands.report import report_run

        report_run(run_dir)
    return objective(run_dir)
