"""The alarm: says when a policy seems to game its reward, why, and which pictures to look at."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl

from arr_rpo import ranks
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.evaluation.alarm import Alarm, AlarmRule, Estimate, Point, alarm
from arr_rpo.measure.base import Taken
from arr_rpo.measure.signs import group_difference
from arr_rpo.module import RPOModule
from arr_rpo.run.layout import Rows
from arr_rpo.types import UserError

SIGNS, PROXY = "signs", "win_rate"
RAISED = ("reward/mean", "criterion/mean")  # curves of training that it raises, beside those of a combined reward's parts
PART = "reward/mean/"
RATES = ("judge/tie_rate", "judge/flip_rate", "judge/failure_rate")
_log = logging.getLogger(__name__)


class HackingMonitor(pl.Callback):
    """At each measurement on the way it compares the trusted measure (gold) with what the training raises (proxies), and
    watches figures of the pictures; `evaluation.alarm` has the rule. It says once that an alarm is raised: in the log, in
    `alarms.jsonl`, in `summary.json` and in the report.

    Args:
        gold: name of the measure that is trusted; None takes the first that is neither the run's own word nor a sign.
        rule: what counts as an alarm.
        stop_on_alarm: whether it ends the run. The best checkpoint by the first measure is kept.
        pictures: prompts whose pictures are kept for it, beside those of the base.
    """

    def __init__(self, *, gold: str | None, rule: AlarmRule, stop_on_alarm: bool, pictures: int) -> None:
        self.gold, self.rule, self.stop_on_alarm, self.pictures = gold, rule, stop_on_alarm, pictures
        self.points: list[Point] = []
        self.raised: Alarm | None = None
        self._since: dict[str, list[float]] = {}  # of the updates since the last measurement
        self._difference: float | None = None
        self._before: dict[str, Any] | None = None  # the state of before the measurement of the update that is under way

    @staticmethod
    def of(trainer: Any) -> HackingMonitor | None:
        """The one in a trainer's callbacks, if any."""
        return next((c for c in trainer.callbacks if isinstance(c, HackingMonitor)), None)

    @staticmethod
    def raised_by(trainer: Any) -> dict[str, Any] | None:
        """The alarm of a run, for its summary; None without one."""
        monitor = HackingMonitor.of(trainer)
        return dataclasses.asdict(monitor.raised) if monitor and monitor.raised else None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, RPOModule)
        self._before = None
        for name, value in pl_module.metrics.items():
            if name in (*RAISED, *RATES) or name.startswith(PART):
                self._since.setdefault(name, []).append(value)
        reward = RubricReward.of(trainer)
        if reward and reward.last and self._difference is None:  # of the first update after a measurement, which is enough
            own = reward.last.own
            found = {"difference": group_difference(own.images, own.group_size)}
            self._difference = ranks.means([(float(len(own.images)), found)])["difference"]
        if self.raised:
            pl_module.log("alarm_at", float(self.raised.update), prog_bar=True, logger=False)

    def measured(self, trainer: pl.Trainer, update: int, taken: Mapping[str, Taken]) -> tuple[str, ...]:
        """Told of the measures after `update` updates. Returns the prompts to look at where an alarm is raised now."""
        self._before = self._state()
        curves = {name: Estimate.of(values) for name, values in self._since.items() if len(values) > 1}
        rates = {name: curves.pop(name) for name in RATES if name in curves}
        proxies = curves
        gold = self.gold or next((name for name in taken if name not in (SIGNS, PROXY)), "")
        if gold != PROXY and PROXY in taken and (own := _values(taken[PROXY])):
            proxies = {PROXY: Estimate.of(list(own.values()))}
        signs = taken[SIGNS].by_prompt if SIGNS in taken else {}
        names = dict.fromkeys(figure for value in signs.values() for figure in value.figures)
        figures = {n: {prompt: v.figures[n] for prompt, v in signs.items() if n in v.figures} for n in names}
        self.points.append(
            Point(update, _values(taken[gold]) if gold in taken else {}, proxies, figures, self._difference, rates)
        )
        self._since, self._difference = {}, None
        found = alarm(self.points, self.rule) if len(self.points) > 1 else None
        for logger in trainer.loggers:
            logger.log_metrics({"heldout/alarm": float(found is not None)}, step=update)
        if found is None or self.raised:
            return ()
        self.raised = dataclasses.replace(found, prompts=found.prompts[: self.pictures])
        said = "; ".join(self.raised.reasons)
        if ranks.rank() == 0:
            _log.warning("ALARM after %d updates: %s", update, said)
        if self.stop_on_alarm:
            trainer.should_stop = True
        return self.raised.prompts

    def shown(self, trainer: pl.Trainer, pictures: Mapping[str, Mapping[str, str]]) -> None:
        """Told where the pictures of the prompts to look at are: prompt -> {"base", "now"}."""
        if self.raised:
            row = {"onset": self.raised.onset, "reasons": self.raised.reasons, "pictures": pictures}
            RunRecords.of(trainer).folder.add(Rows.ALARMS, self.raised.update, [row])

    def check(self, measures: Iterable[str]) -> None:
        """
        Raises:
            UserError: the trusted measure is none of those that are taken.
        """
        if self.gold is not None and self.gold not in measures:
            raise UserError(
                f"callbacks.hacking_monitor.gold={self.gold}: there is no such measure in this run; there are "
                f"{', '.join(measures)}. Name one of them, add it (measure=[...,{self.gold}]), or leave it null"
            )

    def state_dict(self) -> dict[str, Any]:
        """Of before the measurement while its update is under way, as a run that goes on from there takes it again."""
        return self._before or self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "points": [dataclasses.asdict(point) for point in self.points],
            "raised": dataclasses.asdict(self.raised) if self.raised else None,
            "since": dict(self._since),
            "difference": self._difference,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points = [
            Point(**{**point, **{key: _readings(point[key]) for key in ("proxies", "rates")}}) for point in state_dict["points"]
        ]
        self.raised = Alarm(**state_dict["raised"]) if state_dict["raised"] else None
        self._since, self._difference = state_dict["since"], state_dict["difference"]


def _readings(saved: Mapping[str, Mapping[str, float]]) -> dict[str, Estimate]:
    return {name: Estimate(**one) for name, one in saved.items()}


def _values(taken: Taken) -> dict[str, float]:
    return {prompt: value.value for prompt, value in taken.by_prompt.items() if value.value is not None}
