"""What the files of a run are called, for whoever writes them (`folder`) and whoever reads them (`report`, the commands).

config.yaml       the config with its references, so that an override on `resume=` reaches everything that refers to it
versions.json     packages, commit, commands, by start
state.json        {"state": one of `State`, "update": updates done, ...}; "finished" is written last of all
metrics.jsonl     a row an update: {"update": its number from 0, tag: value}
progress.jsonl    a row a measure on the way: {"update": updates done, ...}
verdicts.jsonl    a row a verdict or grade, with the number of its update
heldout.jsonl     a row a held-out prompt, before and after
summary.json      what came of it
trackers.json     what W&B and MLflow know the run by
checkpoints/      update_00040/{state.ckpt, policy/}: after 40 updates; best.json names the best one; abandoned_update_...: what
                  a run had done after the checkpoint from which it was told to go on
policy/           the trained weights, as the stock pipeline loads them
heldout_base/     every held-out picture of before training, where a measure compares with it
alarms.jsonl      a row an alarm, with the prompts whose pictures in alarms/ are to be looked at
grids/, verdict_pictures/, heldout_pictures/, alarms/, skipped/
"""

from __future__ import annotations

import re
from enum import StrEnum

CONFIG, VERSIONS, STATE, SUMMARY = "config.yaml", "versions.json", "state.json", "summary.json"
CHECKPOINTS, TRAINING_STATE, BEST = "checkpoints", "state.ckpt", "best.json"
POLICY = "policy"
TRACKERS = "trackers.json"
GRIDS, VERDICT_PICTURES, HELDOUT_PICTURES, SKIPPED = "grids", "verdict_pictures", "heldout_pictures", "skipped"
HELDOUT_BASE, ALARM_PICTURES = "heldout_base", "alarms"
LOCK = ".lock"


class Rows(StrEnum):
    """The files of rows. Those of an update have its number, by which a run that goes back cuts them off."""

    METRICS = "metrics.jsonl"
    PROGRESS = "progress.jsonl"
    VERDICTS = "verdicts.jsonl"
    ALARMS = "alarms.jsonl"
    HELDOUT = "heldout.jsonl"  # of no update


class State(StrEnum):
    """What a run last said of itself. A run that was killed says RUNNING for ever: its lock says whether it is."""

    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    FINISHED = "finished"


def overrides_in(name: str) -> list[str]:
    """The parts of a name that Hydra made of overrides: "reward=scalar,adapter={rank:8,alpha:4}" has two."""
    return re.findall(r"(?:\{[^{}]*\}|\[[^\[\]]*\]|\([^()]*\)|'[^']*'|\"[^\"]*\"|[^,])+", name)


def by_update(update: int) -> str:
    """ "update_00040": names of what belongs to an update sort as the updates do."""
    return f"update_{update:05d}"


def update_of(name: str) -> int | None:
    """The number in a name that `by_update` began; None of any other."""
    found = re.match(r"update_(\d{5,})(?!\d)", name)
    return int(found[1]) if found else None
