"""The policy's pictures of held-out prompts, measured before training, on the way and at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.utilities.seed import isolate_rng

from arr_rpo import ranks
from arr_rpo.callbacks.checkpoint import Checkpoints
from arr_rpo.callbacks.ema import averaged
from arr_rpo.callbacks.hacking_monitor import SIGNS, HackingMonitor
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.evaluation.images import Seen, pictures, seen, spread
from arr_rpo.evaluation.path_kl import path_kl
from arr_rpo.measure.base import Measure, Own, Taken, Value
from arr_rpo.measure.signs import Signs
from arr_rpo.module import RPOModule
from arr_rpo.policy.sampler import Sampler
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import ALARM_PICTURES, HELDOUT_BASE, HELDOUT_PICTURES, Rows, by_update
from arr_rpo.types import Cost, Prompt, UserError

BEFORE, AFTER = "before", "after"
NAMES = {BEFORE: "base", AFTER: "trained"}
Measured = dict[str, dict[str, Taken]]  # split -> measure -> what it said


class Heldout(pl.Callback):
    """Rows of `progress.jsonl` and `heldout.jsonl`, points in the loggers, pictures of a few prompts, and what `Summary` says.

    The same prompts and noise (`seed`, by prompt) in every run. On the way it measures before every `every_n_updates`-th update
    and after the last one, a part of the prompts: before an update and not after it, so that a run that goes on from a
    checkpoint measures what it goes on with. No random number of the training is drawn. The first measure is the run's own:
    it says which checkpoint is the best, and what `train.py` returns.

    Args:
        measures: by name. One that has nothing to say of these prompts is left out, and says why. None of them at all draws
            nothing, and measures no KL.
        every_n_updates: None measures before and after training only.
        prompts: of the held-out ones, at even distances in their file, that are measured on the way.
        kl_prompts, final_kl_prompts: the same for the path KL, on the way and at the end, 0 for none; kl_sampler: of the paths,
            the same one for runs to be compared.
        drawing: {"num_inference_steps", "call"} of held-out pictures, where they are not drawn as in training.
        pictures: prompts of each split whose pictures are kept, before and after; picture_side: pixels of the longer side at
            most.
    """

    def __init__(
        self,
        *,
        measures: Mapping[str, Measure],
        every_n_updates: int | None,
        prompts: int,
        kl_prompts: int,
        final_kl_prompts: int,
        kl_sampler: Sampler,
        seed: int,
        batch_size: int,
        drawing: Mapping[str, Any],
        pictures: int,
        picture_side: int,
    ) -> None:
        self.measures = dict(measures)
        self.every_n_updates, self.prompts = every_n_updates, prompts
        self.kl_prompts, self.final_kl_prompts, self.kl_sampler = kl_prompts, final_kl_prompts, kl_sampler
        self.seed, self.batch_size, self.drawing = seed, batch_size, dict(drawing)
        self.pictures, self.picture_side = pictures, picture_side
        self.results: dict[str, Measured] = {}  # "before" and "after"
        self.kl: float | None = None
        self.rows: dict[str, dict[str, Any]] = {}  # of heldout.jsonl
        self.asked: dict[str, int] = {}  # calls of judges for a measure, by all processes
        self._asked_before: dict[str, int] | None = None  # an update that is under way measures again when it is gone on with
        self._wanted = bool(self.measures)
        self._done, self._earlier, self._start = 0, 0.0, time.monotonic()

    @staticmethod
    def of(trainer: Any) -> Heldout | None:
        """The one in a trainer's callbacks, if any."""
        return next((c for c in trainer.callbacks if isinstance(c, Heldout)), None)

    # -- when --------------------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data, reward = _data(trainer), RubricReward.of(trainer)
        for name, measure in list(self.measures.items()):
            measure.begin(Own(reward.judge, reward.reward, reward.rubric) if reward else None)
            if why := measure.why_not(data.heldout) or measure.why_not(data.unseen):
                pl_module.print(f"measure={name} is left out: {why}. Others: docs/measures.md")
                del self.measures[name]
        if self.measures and (monitor := HackingMonitor.of(trainer)):
            monitor.check(self.measures)
            self.measures[SIGNS] = Signs()
        if BEFORE not in self.results:
            if self.measures:
                pl_module.print(f"measuring the policy on held-out prompts: {', '.join(self.measures)}")
            self._take_all(trainer, pl_module, BEFORE)
        elif self.measures and self.drawing.get("call") and isinstance(pl_module, RPOModule):
            # Prompts are encoded in the ways in which they were asked for so far, and then encoders may be released.
            with self._as_deployed(pl_module):
                pictures(pl_module.policy, data.heldout[:1], self.seed, 1)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        update, _ = batch
        self._asked_before = dict(self.asked)
        if self.every_n_updates and update % self.every_n_updates == 0:
            begun = time.monotonic()
            self._on_the_way(trainer, pl_module, update)
            self._start += time.monotonic() - begun  # the clock stood still
        self._done = update + 1  # true of every checkpoint from here on

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        self._asked_before = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RPOModule)
        if not self._wanted:
            return
        with averaged(trainer, pl_module):
            self._take_all(trainer, pl_module, AFTER)
            self.kl = self._kl(trainer, pl_module, self.final_kl_prompts)
        if self.every_n_updates:
            self._on_the_way(trainer, pl_module, self._done)

    # -- what --------------------------------------------------------------------------------------------------------------

    def _take_all(self, trainer: pl.Trainer, module: pl.LightningModule, when: str) -> None:
        """All held-out prompts, and the pictures that are kept."""
        if not self._wanted:
            return
        data, folder = _data(trainer), RunRecords.of(trainer).folder
        self.results[when] = {}
        for split, prompts in (("heldout", data.heldout), ("unseen", data.unseen)):
            if prompts:
                all_kept = when == BEFORE and any(measure.against_base for measure in self.measures.values())
                drawn = self._draw(trainer, module, split, prompts, when, len(prompts) if all_kept else self.pictures)
                self.results[when][split] = drawn.taken
                if all_kept:
                    for prompt, image in drawn.kept.items():
                        folder.picture(_base_name(split, prompt), image)
                self._record(folder, when, split, prompts, drawn)
        folder.replace(Rows.HELDOUT, self.rows.values())

    def _on_the_way(self, trainer: pl.Trainer, module: pl.LightningModule, update: int) -> None:
        if not self.measures:
            return
        assert isinstance(module, RPOModule)
        seconds, reward = self._seconds(), RubricReward.of(trainer)
        with isolate_rng(), averaged(trainer, module), module.clock.stage("evaluation"):
            taken = self._part(trainer, module, update)
            kl = self._kl(trainer, module, self.kl_prompts)
        spent = {"images": reward.total.images if reward else 0, "judge_calls": reward.total.cost.calls if reward else 0}
        row = {**spent, "seconds": round(seconds, 1), "kl": kl, "measures": {name: _row(one) for name, one in taken.items()}}
        RunRecords.of(trainer).folder.add(Rows.PROGRESS, update, [row])
        shown = {**({} if kl is None else {"heldout/kl": kl}), **_points(taken)}
        for logger in trainer.loggers:
            logger.log_metrics(shown, step=update)
        first = next(iter(taken))
        if (checkpoints := Checkpoints.of(trainer)) and (value := taken[first].mean) is not None:
            checkpoints.measured(trainer, update, value, f"heldout/{first}")
        if (monitor := HackingMonitor.of(trainer)) and (worst := monitor.measured(trainer, update, taken)):
            monitor.shown(trainer, self._look_at(trainer, module, update, worst))

    def _part(self, trainer: pl.Trainer, module: pl.LightningModule, update: int) -> dict[str, Taken]:
        """Of the prompts that are measured on the way: of the base and at the end what was found of all of them."""
        prompts, whole = self._some(trainer, self.prompts), self.results.get(AFTER if update else BEFORE)
        if whole:
            return {name: taken.of(prompt.id for prompt in prompts) for name, taken in whole["heldout"].items()}
        return self._draw(trainer, module, "heldout", prompts, "", 0).taken

    def _look_at(self, trainer: pl.Trainer, module: RPOModule, update: int, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Pictures of some prompts as they are now, and as the base draws them: prompt -> {"base", "now"}, names of files."""
        found = {prompt.id: prompt for prompt in self._some(trainer, self.prompts)}
        folder, prompts = RunRecords.of(trainer).folder, [found[name] for name in ids]
        names: dict[str, dict[str, str]] = {name: {} for name in ids}
        for which, weights in (("now", averaged(trainer, module)), ("base", module.policy.adapter.reference())):
            with isolate_rng(), weights, self._as_deployed(module):
                images = pictures(module.policy, prompts, self.seed, self.batch_size)
            for number, (name, image) in enumerate(zip(ids, images, strict=True)):
                path = f"{ALARM_PICTURES}/{by_update(update)}_{number}_{which}.png"
                names[name][which] = folder.picture(path, image, self.picture_side)
        return names

    def _as_deployed(self, module: RPOModule) -> contextlib.AbstractContextManager[None]:
        return module.policy.drawing(self.drawing.get("num_inference_steps"), self.drawing.get("call") or {})

    def _draw(
        self, trainer: pl.Trainer, module: pl.LightningModule, split: str, prompts: Sequence[Prompt], when: str, keep: int
    ) -> Seen:
        assert isinstance(module, RPOModule)
        base = None if when == BEFORE else self._base(RunRecords.of(trainer).folder.path, split)
        with self._as_deployed(module):
            drawn = seen(module.policy, prompts, self.measures, self.seed, self.batch_size, keep=keep, base=base)
        for name, measure in self.measures.items():
            self.asked[name] = self.asked.get(name, 0) + sum(ranks.joined([measure.cost.calls]))
            measure.cost = Cost()
        return drawn

    @staticmethod
    def _base(run: Path, split: str) -> Callable[[str], Image.Image]:
        def opened(prompt: str) -> Image.Image:
            path = run / _base_name(split, prompt)
            try:
                with Image.open(path) as image:
                    return image.convert("RGB")
            except OSError as error:
                raise UserError(f"{path}: the base's picture, to be compared with, cannot be read ({error})") from error

        return opened

    def _kl(self, trainer: pl.Trainer, module: RPOModule, prompts: int) -> float | None:
        """None of no prompts."""
        return path_kl(module.policy, self._some(trainer, prompts), self.seed, self.kl_sampler) if prompts else None

    def _some(self, trainer: pl.Trainer, count: int) -> tuple[Prompt, ...]:
        return spread(_data(trainer).heldout, count)

    # -- records -----------------------------------------------------------------------------------------------------------

    def _record(self, folder: RunFolder, when: str, split: str, prompts: Sequence[Prompt], drawn: Seen) -> None:
        """Rows {"prompt_id", "split", "tag", "prompt", "before", "after", "pictures"}; `before` and `after` have the value of
        each measure."""
        shown = {prompt.id for prompt in spread(prompts, self.pictures)}
        for prompt in prompts:
            start = {"prompt_id": prompt.id, "split": split, "tag": str(prompt.metadata.get("tag", "")), "prompt": prompt.text}
            row = self.rows.setdefault(f"{split} {prompt.id}", {**start, BEFORE: None, AFTER: None, "pictures": {}})
            row[when] = {name: taken.by_prompt[prompt.id].to_dict() for name, taken in drawn.taken.items()}
            if prompt.id in shown:
                number = list(self.rows).index(f"{split} {prompt.id}")
                if prompt.source is not None:
                    row["pictures"]["source"] = self._save(folder, prompt.source, f"{number:04d}_source.png")
                row["pictures"][NAMES[when]] = self._save(folder, drawn.kept[prompt.id], f"{number:04d}_{NAMES[when]}.png")

    def _save(self, folder: RunFolder, image: Image.Image, name: str) -> str:
        return folder.picture(f"{HELDOUT_PICTURES}/{name}", image, self.picture_side)

    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        asked = self.asked if self._asked_before is None else self._asked_before
        return {"done": self._done, "seconds": self._seconds(), "rows": self.rows, "asked": dict(asked)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._done, self._earlier, self.rows = state_dict["done"], state_dict["seconds"], state_dict["rows"]
        self.asked = dict(state_dict.get("asked", {}))  # not in an older checkpoint
        self.results = {BEFORE: measured(self.rows.values(), BEFORE)} if self.rows else {}


def measured(rows: Iterable[Mapping[str, Any]], when: str) -> Measured:
    """What rows of `heldout.jsonl` say of before or after."""
    found: dict[str, dict[str, dict[str, Value]]] = {}
    tags: dict[str, dict[str, str]] = {}
    for row in rows:
        split = found.setdefault(row["split"], {})
        tags.setdefault(row["split"], {})[row["prompt_id"]] = row["tag"]
        for name, value in (row[when] or {}).items():
            split.setdefault(name, {})[row["prompt_id"]] = Value(**value)
    return {split: {name: Taken(values, tags[split]) for name, values in some.items()} for split, some in found.items()}


def _row(taken: Taken) -> dict[str, Any]:
    by_prompt = {prompt: value.value for prompt, value in taken.by_prompt.items()}
    return {"value": taken.mean, "figures": taken.figures, "missing": taken.missing, "by_prompt": by_prompt}


def _points(taken: Mapping[str, Taken]) -> dict[str, float]:
    """Curves: `heldout/<measure>`, and `heldout/<measure>/<figure>`."""
    means = {f"heldout/{name}": one.mean for name, one in taken.items()}
    figures = {f"heldout/{name}/{figure}": value for name, one in taken.items() for figure, value in one.figures.items()}
    return {name: value for name, value in {**means, **figures}.items() if value is not None}


def _base_name(split: str, prompt: str) -> str:
    return f"{HELDOUT_BASE}/{split}_{prompt.replace('/', '_')}.png"


def _data(trainer: pl.Trainer) -> PromptDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, PromptDataModule)
    return data
