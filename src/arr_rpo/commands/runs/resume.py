"""The config of a run that goes on: its own, changed by what the command line names and may change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.runs.foreign import allowed, config_of
from arr_rpo.types import UserError

GROUPS = {"policy", "sampler", "judge", "rubric", "reward", "algorithm", "data", "measure", "trainer", "logger", "callbacks"}
# What a run was measured by, and what its checkpoint is of: another value would compare or continue what is not the same.
FIXED = (
    *("name", "run_dir", "data.heldout", "data.unseen", "callbacks.heldout.seed", "callbacks.heldout.drawing"),
    *(f"policy.{key}" for key in ("_target_", "checkpoint", "dtype", "adapter", "num_inference_steps", "call", "scheduler")),
)
OF_THE_COMMAND = {"experiment", "resume", "checkpoint", "allow", "trainer"}  # not of the run that goes on
COMPARISONS = {"arm", "study", "hparams_search"}


def resumed(folder: str, overrides: Sequence[str], composed: DictConfig | None = None) -> DictConfig:
    """The config that a run was started with, changed only by the values that the command line names. It was recorded with its
    references, so that a value reaches everything that refers to it.

    composed: of this command line alone: from it come another `trainer`, as a run may go on with more or fewer processes, and
        `allow`, what the run's config may name to be called beside this package's own.

    Raises:
        UserError: there is no such run, its config names something else to be called, or the command line would swap a part
            of it or change what cannot be.
    """
    config = config_of(Path(folder), "resume", allowed(composed), needs=("name",))
    values = [o for o in overrides if o.split("=")[0] not in OF_THE_COMMAND]
    if composed is not None and any(o.startswith("trainer=") for o in overrides):
        config.trainer = composed.trainer
    for override in [o for o in overrides if o.startswith("experiment=") and o != f"experiment={config.name}"]:
        raise UserError(f"resume={folder} is a run of experiment={config.name}: leave {override} out, or start a new run")
    for override in values:
        if (key := override.split("=")[0].lstrip("+~").split("/")[0]) in GROUPS | COMPARISONS:
            raise UserError(f"resume={folder} goes on with the run's own {key}: leave {override} out, or start a new run")
        if any(f"{override.split('=')[0].lstrip('+~')}.".startswith(f"{fixed}.") for fixed in FIXED):
            raise UserError(
                f"resume={folder}: the run's checkpoint and its first measure are of its own {override.split('=')[0]}: leave "
                f"{override} out, or start a new run"
            )
    OmegaConf.set_struct(config, True)
    which = [override.split("=", 1)[1] for override in overrides if override.startswith("checkpoint=")]
    merged = OmegaConf.merge(config, OmegaConf.from_dotlist(values))
    OmegaConf.set_struct(merged, False)  # a run of before may not know these
    return OmegaConf.merge(merged, {"resume": folder, "checkpoint": which[0] if which else "last"})  # type: ignore[return-value]
