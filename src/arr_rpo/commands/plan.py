"""`arr-rpo plan policy=<name>`: how much memory a policy takes, before a GPU is rented or anything is downloaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import diffusers
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.cli.entry import entry
from arr_rpo.commands.runs.processes import on_a_machine
from arr_rpo.policy.memory_plan import GIB, RESERVE, Plan, make_plan
from arr_rpo.whole_files import write_json


@entry(
    "plan",
    {
        "policy=flux1_dev": "the model",
        "policy/load=nf4": "its frozen base in 4 bits",
        "minibatch_size=2": "candidates in one backward pass",
    },
)
def main(config: DictConfig) -> None:
    """Prints the plan, and writes it to `json` if given."""
    result = plan(config)
    print(text(result, config))
    if config.json:
        write_json(Path(config.json), {**asdict(result), "peaks": result.peaks(), "cards": result.cards()})


def plan(config: DictConfig) -> Plan:
    """The plan of the config's policy."""
    diffusers.utils.logging.set_verbosity_error()  # it warns of what is on purpose here, such as embeddings without a mask
    policy = config.policy
    return make_plan(
        checkpoint=policy.checkpoint,
        adapter=instantiate(policy.adapter),
        dtype=policy.dtype,
        call=OmegaConf.to_container(policy.call, resolve=True),  # type: ignore[arg-type]
        load=OmegaConf.to_container(policy.load, resolve=True),  # type: ignore[arg-type]
        release_text_encoders=policy.release_text_encoders,
        minibatch_size=config.minibatch_size,
        rollout_batch_size=config.rollout_batch_size,
        optimizer=config.optimizer,
        encodings_gib=policy.encodings.device_gib,
        prompt_tokens=config.prompt_tokens,
        shards=processes(config) if _sharded(config) else 1,
        judge_gib=config.judge_gib,
    )


def processes(config: DictConfig) -> int:
    """Of the run."""
    return on_a_machine(config.trainer) * int(config.trainer.num_nodes)


def _sharded(config: DictConfig) -> bool:
    return bool((config.trainer.get("strategy") or {}).get("shards"))


def text(plan: Plan, config: DictConfig) -> str:
    """The plan as a table."""
    call, peaks = config.policy.call, plan.peaks()
    size = f"{call.height}x{call.width}" if "height" in call else "default size"
    lines = [f"{config.policy.checkpoint}: {plan.pipeline} from {plan.source}, {size}", ""]
    lines += [
        f"{part.name:16} {part.class_name:36} {part.parameters / 1e6:10,.1f} M  {part.dtype:9} {_size(part.bytes)}"
        + ("" if part.resident else "  (released)")
        for part in plan.parts
    ]
    lines += [
        "",
        f"trainable {plan.trainable / 1e6:,.1f} M, frozen {plan.frozen / 1e6:,.1f} M parameters",
        f"{'adapter':42} {_size(plan.adapter)}",
        f"{'gradients':42} {_size(plan.gradients)}",
        f"{'optimizer state (' + config.optimizer + ')':42} {_size(plan.optimizer)}",
        f"{'encodings of prompts, at most':42} {_size(plan.encodings)}",
        *([f"{'judge on the same GPU':42} {_size(plan.judge)}"] if plan.judge else []),
        *_on_each_gpu(plan, config),
        f"{'always resident, these included':42} {_size(plan.resident)}",
        "",
        f"{'':42} {'activations':>13} {'peak':>13}",
    ]
    rows = [
        (f"training, minibatch of {config.minibatch_size}", plan.working_training, peaks["training"]),
        ("  with gradient checkpointing", plan.working_checkpointed, peaks["training_checkpointed"]),
        (f"rollout, batch of {config.rollout_batch_size}", plan.working_rollout, peaks["rollout"]),
    ]
    lines += [f"{name:42} {_size(working)} {_size(peak)}" for name, working, peak in rows]
    if not all(part.resident for part in plan.parts):
        lines.append(f"{'start, before the release':56} {_size(peaks['start'])}")
    fits = "; ".join(f"{card}: {word}" for card, word in plan.cards().items())
    lines += ["", f"fits, with {RESERVE / GIB:.1f} GiB to spare?  {fits}"]
    if not plan.judge:
        lines.append("A local judge comes on top (judge_gib=..., configs/judge); one on a server does not.")
    return "\n".join(lines)


def _on_each_gpu(plan: Plan, config: DictConfig) -> list[str]:
    """What several processes change."""
    if (several := processes(config)) == 1:
        return []
    if plan.shards == 1:
        return [f"each of {several} GPUs has all of this (trainer=ddp)"]
    transformer = next(part.bytes for part in plan.parts if part.name == "transformer")
    whole = "weights, gradients and optimizer state" if plan.all_trained else "frozen weights"
    return [
        f"a shard of the {whole}, of {plan.shards}",
        f"{'  transformer':42} {_size(transformer // plan.shards)}",
        *([f"{'  what is trained':42} {_size(plan.training_state)}"] if plan.all_trained else []),
        f"{'  blocks that are whole at once':42} {_size(plan.gathered)}",
    ]


def _size(number: int) -> str:
    return f"{number / GIB:9.2f} GiB" if number >= GIB / 100 else f"{number / 2**20:9.2f} MiB"
