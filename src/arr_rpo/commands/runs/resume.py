"""The config of a run that goes on: its own, changed by what the command line names and may change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from arr_rpo.commands.cli.misspelt import key_names, meant
from arr_rpo.commands.runs.foreign import allowed, config_of
from arr_rpo.commands.runs.stage import SERVING
from arr_rpo.types import UserError

GROUPS = {"policy", "sampler", "judge", "rubric", "reward", "algorithm", "data", "measure", "trainer", "logger", "callbacks"}
# What a run was measured by, and what its checkpoint is of: another value would compare or continue what is not the same.
FIXED = (
    *("name", "run_dir", "data.heldout", "data.unseen", "measure"),
    *(f"callbacks.heldout.{key}" for key in ("seed", "drawing", "measures", "prompts")),
    *(f"callbacks.heldout.{key}" for key in ("kl_sampler", "kl_prompts", "final_kl_prompts")),
    *(f"policy.{key}" for key in ("_target_", "checkpoint", "dtype", "adapter", "num_inference_steps", "call", "scheduler")),
)
# Keys of a measure's judge or scorer that say how it is reached and how much it is asked at once.
REACHED = {*SERVING, "url", "device", "max_reply"}
OF_THE_COMMAND = {"experiment", "resume", "checkpoint", "allow", "trainer"}  # not of the run that goes on
COMPARISONS = {"arm", "study", "hparams_search"}


def past_hydra(arguments: Sequence[str]) -> list[str]:
    """The arguments, where `resume=` names a run: values of its own keys, which the default config may not have, are handed to
    Hydra as ones to add (`++`). `resumed` looks whether the run has them."""
    named = [argument.partition("=")[2] for argument in arguments if argument.startswith("resume=")]
    if not named or named[-1] in ("", "auto", "null"):
        return list(arguments)
    return [f"++{argument}" if _is_value(argument) else argument for argument in arguments]


def _is_value(argument: str) -> bool:
    key, equals, _ = argument.partition("=")
    return bool(equals) and "." in key and key[0] not in "+~-" and not key.startswith("hydra.") and not {"/", "@"} & set(key)


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
        name = override.split("=")[0].lstrip("+~")
        if (key := name.split("/")[0]) in GROUPS | COMPARISONS:
            raise UserError(f"resume={folder} goes on with the run's own {key}: leave {override} out, or start a new run")
        if _fixed(name):
            raise UserError(
                f"resume={folder}: the run's checkpoint and what was measured are of its own {name}: leave "
                f"{override} out, or start a new run"
            )
    which = [override.split("=", 1)[1] for override in overrides if override.startswith("checkpoint=")]
    for override in values:
        config = _changed(config, override, folder)
    # A run of before may not know these.
    return OmegaConf.merge(config, {"resume": folder, "checkpoint": which[0] if which else "last"})  # type: ignore[return-value]


def _fixed(name: str) -> bool:
    """Whether a key, or one below it, is what a run was measured by."""
    if name.startswith("measure.") and name.rpartition(".")[2] in REACHED:
        return False
    return any(f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.") for key in FIXED)


def _changed(config: DictConfig, override: str, folder: str) -> DictConfig:
    """With one value of the command line. `+` adds a key; others have to be there."""
    new, text = override.startswith("+") and not override.startswith("++"), override.lstrip("+")
    OmegaConf.set_struct(config, not new)
    try:
        merged = OmegaConf.merge(config, OmegaConf.from_dotlist([text]))
    except (ConfigAttributeError, ConfigKeyError) as error:
        key = text.partition("=")[0]
        near = meant(key, key_names(config)) or f": +{text} adds it"
        raise UserError(f"resume={folder}: the run has no {key}{near}") from error
    OmegaConf.set_struct(merged, False)
    assert isinstance(merged, DictConfig)
    return merged
