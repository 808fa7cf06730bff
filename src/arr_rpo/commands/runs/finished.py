"""The policy that a finished run trained, for commands that draw with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from arr_rpo import ranks
from arr_rpo.commands.runs.foreign import allowed, config_of, only_files
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import POLICY, State
from arr_rpo.types import Painter, Prompt, UserError


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
    """The config with the policy of `run`, if there is one, which draws as its held-out pictures were drawn; and as `drawing`
    says, whoever draws.

    Raises:
        UserError: the folder is no finished run, or the command line names a policy beside it.
    """
    if config.run is None:
        if config.base:
            raise UserError("base=true is what a run began with: give run=<folder>, or the model alone as policy=...")
        _draw_as(config, config.drawing)
        return config
    for override in overrides:
        if override.lstrip("+~").split("=")[0].split("/")[0].split(".")[0] in ("policy", "sampler"):
            raise UserError(f"run={config.run} brings the run's own policy: leave {override} out (drawing.* changes its steps)")
    trained = finished_run(Path(config.run), allowed(config), keep_start=config.base)
    with open_dict(config):  # `generate` has none of its own
        config.policy, config.sampler = trained.policy, trained.sampler
    _draw_as(config, OmegaConf.select(trained, "callbacks.heldout.drawing"))
    _draw_as(config, config.drawing)
    return config


def _draw_as(config: DictConfig, drawing: DictConfig | None) -> None:
    """Puts what is given of steps, call arguments and so on in place of the policy's."""
    if drawing is None or config.get("policy") is None:
        return
    with open_dict(config.policy):
        for key, value in drawing.items():
            if key == "call" and value:
                config.policy.call = {**(config.policy.get("call") or {}), **value}
            elif key != "call" and value is not None:
                config.policy[key] = value


def painter(config: DictConfig, prompts: Iterable[Prompt] | None) -> Painter:
    """The policy of a config, with what `run` trained (but for `base`), on its device.

    prompts: all that it will be asked for, so that text encoders may go once these are encoded (`release_text_encoders`); None
    where nobody knows. Then, and for edits and prompts with a negative one, they stay.
    """
    released: dict[str, bool] = {}
    if config.policy.get("release_text_encoders"):
        prompts = None if prompts is None else [*prompts]
        stay = prompts is None or any(prompt.source is not None or prompt.negative is not None for prompt in prompts)
        released = {"release_text_encoders": not stay}
    device = ranks.device(config.device or "auto")
    ranks.on_device(device)
    policy = instantiate(config.policy, **released)
    if config.run is not None and not config.base:
        policy.load_trained(Path(config.run) / POLICY)
    moved: Painter = policy.to(device)
    if prompts is not None and isinstance(moved, PipelinePolicy):
        moved.cache_prompts(prompts)
    return moved
