"""`python -m tests.processes.many cases.json`, alone or under torchrun: trains several configs one after the other.

A case is {"name", "overrides"}; its run folder is `name`, beside the file. What it raises goes into `<name>.error`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.distributed.tensor import DTensor

from arr_rpo import ranks
from arr_rpo.commands.runs.follow import among_others
from arr_rpo.commands.runs.training import train
from arr_rpo.module import RPOModule
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.types import Outcome, Prompt, Rewards, Rollout, UserError, Verdict
from tests.conftest import configure

BASE = (
    *("judge=oracle", "data.updates=4", "data.candidates_per_update=16", "policy.num_inference_steps=4", "num_threads=1"),
    *("trainer.enable_progress_bar=false", "callbacks.summary=null", "callbacks.heldout=null", "data.unseen=null"),
    *("callbacks.image_grid=null", "callbacks.verdict_pictures=null", "callbacks.checkpoint.keep_every_n_updates=2"),
    "+callbacks.spy._target_=tests.processes.many.Spy",
)


class Spy(pl.Callback):
    """Keeps what each process drew."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, RPOModule)
        judge, folder = pl_module.judge_rewards, Path(str(trainer.default_root_dir))
        number = 0

        def seen(rollout: Rollout, prompts: tuple[Prompt, ...]) -> Rewards:
            nonlocal number
            torch.save(rollout.clean_BD, folder / f"drawn_{number}_{rollout.first:02d}.pt")
            number += 1
            assert judge is not None
            return judge(rollout, prompts)

        pl_module.judge_rewards = seen

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """And what it has of the policy's frozen weights, in bytes."""
        assert isinstance(pl_module, RPOModule)
        trained = set(pl_module.policy.adapter.parameters().values())
        own = [
            p.to_local() if isinstance(p, DTensor) else p for p in pl_module.policy.transformer.parameters() if p not in trained
        ]
        path = Path(str(trainer.default_root_dir)) / f"frozen_{ranks.rank()}"
        path.write_text(str(sum(p.numel() * p.element_size() for p in own)), encoding="utf-8")


class PartlyDumb(OracleJudge):
    """The oracle, which of the second half of an update's prompts says nothing, or always the same; or which cannot be asked of
    them."""

    def __init__(self, says: str) -> None:
        super().__init__()
        self.says = says

    def compare(self, prompts: Any, pairs: Any, rubrics: Any) -> list[Verdict]:
        verdicts = super().compare(prompts, pairs, rubrics)
        late = [ranks.rank() > 0 or row >= 4 for row in range(len(prompts))]  # of eight pairs, or of a process's four
        if self.says == "raises" and any(late):
            raise OSError("the judge's cable is out")
        made = {"tie": Verdict(Outcome.TIE, 0.5, (0.5, 0.5)), "failed": Verdict(Outcome.FAILED, None, reason="mute")}
        return [made[self.says] if is_late else verdict for is_late, verdict in zip(late, verdicts, strict=True)]


class NotEverywhere(OracleJudge):
    """Cannot be had in process 1."""

    def __init__(self) -> None:
        if ranks.rank() == 1:
            raise UserError("no weights on this machine")
        super().__init__()


def main() -> None:
    place = Path(sys.argv[1]).parent
    cases: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))

    def run(train: Callable[[DictConfig], None]) -> None:
        for case in cases:
            folder = place / case.get("folder", case["name"])
            folder.mkdir(exist_ok=True)
            named = [] if any(o.startswith("experiment=") for o in case["overrides"]) else ["experiment=t2i_rpo"]
            config = configure([*named, *BASE, *case["overrides"], f"run_dir={folder}", f"rubric.store={place}/rubrics"])
            try:
                train(config)
            except Exception as error:
                (place / f"{case['name']}.error").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")

    run(train) if ranks.announced() == 1 else among_others(run, 30)


if __name__ == "__main__":
    main()
