"""What the run was for: held-out accuracy before and after, the trained weights, `summary.json` and `heldout.jsonl`."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

from arr_rpo.callbacks.ema import averaged
from arr_rpo.callbacks.guard import Guard
from arr_rpo.callbacks.heldout_record import HeldoutRecord
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.evaluation.images import measurable, seen, spread
from arr_rpo.evaluation.path_kl import path_kl
from arr_rpo.judge.base import account
from arr_rpo.module import RPOModule
from arr_rpo.objective.finite import not_finite, raise_together
from arr_rpo.policy.sampler import Sampler
from arr_rpo.run.layout import POLICY, SUMMARY
from arr_rpo.shapes.edits import INSTRUCTION
from arr_rpo.types import Outcome

UNKNOWN: dict[str, Any] = {"strict": None, "criteria": None, "by_tag": {}, "parts": {}}
NO_ORACLE = "drawing held-out prompts; no oracle knows them, so their accuracy is not measured"


class Summary(pl.Callback):
    """Measures the policy with the oracle at the start and at the end; the seed of the measure is not that of the run.

    Where the oracle does not know the prompts, accuracies are null; weights, pictures and the rest are written all the same.

    kl_sampler: of the paths on which the divergence from the reference is measured; the same one for runs to be compared.
    pictures: prompts of each split whose pictures are kept, before and after; picture_side: pixels of the longer side at most.
    """

    def __init__(
        self,
        *,
        seed: int,
        eval_seed: int,
        eval_batch_size: int,
        kl_prompts: int,
        kl_sampler: Sampler,
        pictures: int,
        picture_side: int,
    ) -> None:
        self.seed, self.eval_seed = seed, eval_seed
        self.batch_size, self.kl_prompts = eval_batch_size, kl_prompts
        self.kl_sampler = kl_sampler
        self.record = HeldoutRecord(pictures, picture_side)
        self.before: dict[str, Any] | None = None
        self._earlier, self._start = 0.0, time.monotonic()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.before is None:
            known = measurable(self._data(trainer).heldout)
            pl_module.print("measuring the policy on held-out prompts" if known else NO_ORACLE)
            self.before = self._measure(trainer, pl_module, "before")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RPOModule)
        if self.before is None:
            return
        reward, records = RubricReward.of(trainer), RunRecords.of(trainer)
        heldout = self._data(trainer).heldout
        with averaged(trainer, pl_module):
            after = self._measure(trainer, pl_module, "after")
            kl = path_kl(pl_module.policy, spread(heldout, self.kl_prompts), self.eval_seed, self.kl_sampler)
            weights = {f"the weight {name}": p.detach() for name, p in pl_module.policy.adapter.parameters().items()}
            raise_together(not_finite(weights))
            with records.folder.whole(POLICY) as folder:
                pl_module.policy.adapter.save(folder)
        summary = {
            **_accuracies(self.before, after),
            "heldout_prompts": len(heldout),
            "seconds": round(self._seconds(), 1),
            "seed": self.seed,
            "images": reward.images if reward else 0,
            "judge": _judge(reward),
            "kl": kl,
            "optimizer_steps": records.optimizer_steps,
            "seconds_by_stage": {stage: round(spent, 1) for stage, spent in records.seconds.items()},
            "skipped_updates": Guard.skipped_by(trainer),
            "replay_floor": pl_module.replay_floor,
        }
        records.folder.json(SUMMARY, summary)
        if not records.folder.writes:
            return
        if measurable(heldout):
            print_summary(summary)
        Console().print(f"summary, verdicts and weights: {records.folder.path}", soft_wrap=True)

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule, when: str) -> dict[str, Any]:
        assert isinstance(pl_module, RPOModule)
        data, folder, found = self._data(trainer), RunRecords.of(trainer).folder, {}
        for split, prompts in (("heldout", data.heldout), ("unseen", data.unseen)):
            if prompts:
                drawn = seen(pl_module.policy, prompts, self.eval_seed, self.batch_size, self.record.pictures)
                found[split] = drawn.accuracy.to_dict() if drawn.accuracy else UNKNOWN
                self.record.add(folder, when, split, prompts, drawn)
        self.record.write(folder)
        return found

    @staticmethod
    def _data(trainer: pl.Trainer) -> PromptDataModule:
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, PromptDataModule)
        return data

    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before, "seconds": self._seconds(), "record": self.record.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before, self._earlier = state_dict["before"], state_dict["seconds"]
        self.record.rows = state_dict.get("record", {})


def _accuracies(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Each held-out figure as {"before", "after"}; null where nobody knows what is right."""

    def both(split: str, figure: str) -> dict[str, Any]:
        return {"before": before[split][figure], "after": after[split][figure]}

    def each(figure: str) -> dict[str, Any]:
        entries = before["heldout"].get(figure, {})  # no parts in an older checkpoint
        return {name: {"before": value, "after": after["heldout"][figure][name]} for name, value in entries.items()}

    return {
        "heldout_strict": both("heldout", "strict"),
        "heldout_criteria": both("heldout", "criteria"),
        "heldout_by_tag": each("by_tag"),
        "heldout_parts": each("parts"),
        "unseen_strict": both("unseen", "strict") if "unseen" in after else None,
    }


def _judge(reward: RubricReward | None) -> dict[str, Any] | None:
    if reward is None:
        return None
    return {
        "name": reward.judge.name,
        "revision": reward.judge.revision,
        "calls": reward.cost.calls,
        "tokens": reward.cost.tokens,
        "writing_calls": reward.writing.calls,
        "writing_tokens": reward.writing.tokens,
        "ties": reward.outcomes[str(Outcome.TIE)],
        "flips": reward.outcomes[str(Outcome.INCONSISTENT)],
        "failures": reward.outcomes[str(Outcome.FAILED)],
        "failures_by_reason": dict(reward.reasons),
        "rubric_failures": reward.rubric_failures,
        "account": account(reward.judge),
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The table that ends a run."""
    table = Table(title="held-out accuracy by the oracle (deployment sampler)")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {"strict, all prompts": summary["heldout_strict"], "criteria": summary["heldout_criteria"]}
    rows |= {f"strict, {tag}": value for tag, value in summary["heldout_by_tag"].items()}
    if summary["unseen_strict"]:
        rows["strict, unseen combinations"] = summary["unseen_strict"]
    if INSTRUCTION in summary["heldout_parts"]:  # of edits, the two parts of every figure above
        rows |= {f"criteria, {name}": value for name, value in summary["heldout_parts"].items()}
    for name, value in rows.items():
        change = value["after"] - value["before"]
        table.add_row(name, f"{value['before']:.3f}", f"{value['after']:.3f}", f"{change:+.3f}")
    Console().print(table)
