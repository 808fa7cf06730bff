"""What the run was for: held-out measures before and after, the trained weights, and `summary.json`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

from arr_rpo.algorithm.finite import not_finite, raise_together
from arr_rpo.callbacks.ema import averaged
from arr_rpo.callbacks.guard import Guard
from arr_rpo.callbacks.hacking_monitor import HackingMonitor
from arr_rpo.callbacks.heldout import AFTER, BEFORE, Heldout
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.judge.base import account
from arr_rpo.measure.base import Taken
from arr_rpo.module import RPOModule
from arr_rpo.run.layout import POLICY, SUMMARY
from arr_rpo.types import Outcome


class Summary(pl.Callback):
    """Saves the weights at the end and says what came of the run. It comes after `Heldout`, whose measures it sums up."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed
        self._earlier, self._start = 0.0, time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RPOModule)
        reward, records, heldout = RubricReward.of(trainer), RunRecords.of(trainer), Heldout.of(trainer)
        with averaged(trainer, pl_module):
            weights = {f"the weight {name}": p.detach() for name, p in pl_module.policy.adapter.parameters().items()}
            raise_together(not_finite(weights))
            with records.folder.whole(POLICY) as folder:
                pl_module.policy.adapter.save(folder)
        summary = {
            "measures": measures(heldout) if heldout else {},
            "heldout_prompts": len(trainer.datamodule.heldout),  # type: ignore[attr-defined]
            "seconds": round(self._seconds(), 1),
            "seed": self.seed,
            "images": reward.total.images if reward else 0,
            "judge": _judge(reward),
            "kl": heldout.kl if heldout else None,
            "optimizer_steps": records.optimizer_steps,
            "seconds_by_stage": {stage: round(spent, 1) for stage, spent in records.seconds.items()},
            "skipped_updates": Guard.skipped_by(trainer),
            "alarm": HackingMonitor.raised_by(trainer),
            "replay_floor": pl_module.replay_floor,
        }
        records.folder.json(SUMMARY, summary)
        if not records.folder.writes:
            return
        if summary["measures"]:
            print_summary(summary)
        Console().print(f"summary, verdicts and weights: {records.folder.path}", soft_wrap=True)

    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._earlier = state_dict["seconds"]


def measures(heldout: Heldout) -> dict[str, Any]:
    """Of each measure, the run's own first: the mean before and after, the same of its further figures, of each tag, and of
    prompts of unseen combinations, each without the prompts that have a value one time and none the other; how many have none
    one time or both, and what a judge was asked for it."""
    return {
        name: {
            **_both(heldout, "heldout", name, lambda taken: taken.mean),
            "figures": _each(heldout, name, lambda taken: taken.figures),
            "by_tag": _each(heldout, name, lambda taken: taken.by_tag),
            "unseen": _both(heldout, "unseen", name, lambda taken: taken.mean),
            "missing": _missing(heldout, name),
            "judge_calls": heldout.asked.get(name, 0),
            **({"criteria": dict(measure.criteria)} if measure.criteria else {}),
        }
        for name, measure in heldout.measures.items()
    }


def _both(heldout: Heldout, split: str, name: str, of: Callable[[Taken], Any]) -> dict[str, Any]:
    """{"before", "after"}; None where it was not measured."""
    found = {when: heldout.results.get(when, {}).get(split, {}).get(name) for when in (BEFORE, AFTER)}
    before, after = (_values(taken) for taken in found.values())
    once = before.keys() ^ after.keys()
    if before.keys() & after.keys():  # else nothing can be compared, and means are of what there is
        found = {when: taken and taken.of(p for p in taken.by_prompt if p not in once) for when, taken in found.items()}
    return {when: None if taken is None else of(taken) for when, taken in found.items()}


def _values(taken: Taken | None) -> dict[str, float]:
    return {p: said.value for p, said in taken.by_prompt.items() if said.value is not None} if taken else {}


def _missing(heldout: Heldout, name: str) -> int:
    prompts = heldout.results[AFTER]["heldout"][name].by_prompt
    both = [_values(heldout.results.get(when, {}).get("heldout", {}).get(name)) for when in (BEFORE, AFTER)]
    return sum(any(prompt not in values for values in both) for prompt in prompts)


def _each(heldout: Heldout, name: str, of: Callable[[Taken], Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    both = _both(heldout, "heldout", name, of)
    return {key: {when: (both[when] or {}).get(key) for when in (BEFORE, AFTER)} for key in both[AFTER]}


def _judge(reward: RubricReward | None) -> dict[str, Any] | None:
    if reward is None:
        return None
    return {
        "name": reward.judge.name,
        "revision": reward.judge.revision,
        "calls": reward.total.cost.calls,
        "tokens": reward.total.cost.tokens,
        "writing_calls": reward.total.writing.calls,
        "writing_tokens": reward.total.writing.tokens,
        "ties": reward.total.outcomes[str(Outcome.TIE)],
        "flips": reward.total.outcomes[str(Outcome.INCONSISTENT)],
        "failures": reward.total.outcomes[str(Outcome.FAILED)],
        "failures_by_reason": dict(reward.total.reasons),
        "rubric_failures": reward.total.rubric_failures,
        "account": account(reward.judge),
    }


def print_summary(summary: Mapping[str, Any]) -> None:
    """The table that ends a run."""
    table = Table(title="held-out prompts, before and after training")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="left" if not column else "right")
    for number, (name, found) in enumerate(summary["measures"].items()):
        if found["after"] is None:
            continue  # signs of cheating are curves, and no result
        rows = {name: found, **{f"  {figure}": value for figure, value in found["figures"].items()}}
        rows |= {f"  {name}, {tag}": value for tag, value in found["by_tag"].items() if not number}
        rows |= {f"  {name}, unseen combinations": found["unseen"]} if found["unseen"]["after"] is not None else {}
        for said, value in rows.items():
            table.add_row(said, *map(_shown, (value["before"], value["after"])), _change(value))
    Console().print(table)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _change(value: Mapping[str, float | None]) -> str:
    before, after = value["before"], value["after"]
    return "–" if before is None or after is None else f"{after - before:+.3f}"
