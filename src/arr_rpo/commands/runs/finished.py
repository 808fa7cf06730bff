"""The policy that a finished run trained, for commands that draw with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from arr_rpo import ranks
from arr_rpo.commands.runs.foreign import allowed, config_of, only_files
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import POLICY, State
from arr_rpo.types import Painter, UserError


def finished_run(run: Path, allow: Sequence[str] = (), *, keep_start: bool = False) -> DictConfig:
    """The config of a run of train.py, whose weights are in its folder `policy`.

    allow: what it may name to be called, beside this package's own. keep_start: whether the policy still starts from what the
    run started from, which need not be there any more: the trained weights have it in them, the reference has not.

    Raises:
        UserError: the folder is no run, or one that did not end, or its config names something else to be called.
    """
    config = config_of(run, "run", allow, needs=("policy", "data"))
    state = RunFolder(run).state().get("state", State.FINISHED)  # a folder of weights alone says nothing
    if not (run / POLICY).is_dir() or state != State.FINISHED:
        raise UserError(f"run={run}: the run did not end, or has no folder `policy`. Go on with train.py and resume={run}.")
    only_files(run / POLICY)
    OmegaConf.resolve(config)  # its parts may become parts of another config
    if OmegaConf.select(config, "policy.adapter.start_from") and not keep_start:
        config.policy.adapter.start_from = None
    return config


def with_policy_of_run(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The config with the policy of `run`, if there is one.

    Raises:
        UserError: the folder is no finished run, or the command line names a policy beside it.
    """
    if config.run is None:
        return config
    for override in overrides:
        if override.lstrip("+~").split("=")[0].split("/")[0].split(".")[0] in ("policy", "sampler"):
            raise UserError(f"run={config.run} brings the run's own policy: leave {override} out")
    trained = finished_run(Path(config.run), allowed(config))
    with open_dict(config):  # `generate` has none of its own
        config.policy, config.sampler = trained.policy, trained.sampler
    return config


def painter(config: DictConfig) -> Painter:
    """The policy of a config, with what `run` trained, on its device."""
    policy = instantiate(config.policy)
    if config.run is not None:
        policy.load_trained(Path(config.run) / "policy")
    moved: Painter = policy.to(ranks.device(config.device or "auto"))
    return moved
