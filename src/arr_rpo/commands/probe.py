"""`arr-rpo probe judge=server judge.model.base_url=... judge.model.model=...`: what a judge's server can do.

Asks ten questions with known answers in each way of answering, tells which of them work and how fast, and prints the part
of a config to go on with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from arr_rpo.commands.cli.entry import entry
from arr_rpo.judge.forms import NoAnswer, Slots
from arr_rpo.judge.reasons import FIXES
from arr_rpo.judge.server.model import ServerModel
from arr_rpo.judge.server.questions import Known, known
from arr_rpo.judge.server.settings import ANSWERS
from arr_rpo.types import Reason, UserError

BEST_FIRST = ("logprobs", "schema", "generated")


@dataclass(frozen=True)
class Way:
    """A way of answering: what was said to each question, whether it was right, or why there was nothing to hear."""

    answers: str
    said: tuple[str, ...]
    right: tuple[bool, ...]
    reasons: tuple[Reason, ...]
    impossible: str = ""

    @property
    def score(self) -> int:
        return sum(self.right)


@entry(
    "probe",
    {
        "judge=server": "which judge; vllm is the other",
        "judge.model.base_url=URL": "where it is",
        "judge.model.model=NAME": "what it serves",
    },
)
def main(config: DictConfig) -> None:
    """Prints what was found."""
    probe(config)


def probe(config: DictConfig) -> dict[str, Way]:
    """Each way of answering.

    Raises:
        UserError: the judge is not behind a server, or nobody answers there.
    """
    if not str(config.judge.get("model", {}).get("_target_", "")).endswith("ServerModel"):
        raise UserError("probe asks a judge behind a server: judge=server or judge=vllm, with judge.model.base_url")
    questions = known()
    ways = {answers: _way(config, answers, questions) for answers in ANSWERS}
    Console().print(_table(questions, ways))
    for reason in sorted({reason for way in ways.values() for reason in way.reasons}):
        print(f"{reason}: {FIXES[reason]}")
    best = max(BEST_FIRST, key=lambda answers: ways[answers].score)
    if not ways[best].score:
        raise UserError("none of the ways of answering works with this server; the table has the reasons")
    _speed(config, best)
    print("\nA config to go on with:\n" + _config(config, best))
    return ways


def _model(config: DictConfig, answers: str, **changes: Any) -> ServerModel:
    asked = {**config.judge.model, "answers": answers, "cache_dir": None, "check_at_start": False, **changes}
    model: ServerModel = instantiate(asked)
    return model


def _way(config: DictConfig, answers: str, questions: Sequence[Known]) -> Way:
    try:
        model = _model(config, answers)
        model.revision()
        filled, _ = model.fill([q.conversation for q in questions], [q.form for q in questions])
    except UserError as error:
        return Way(answers, (), (), (), impossible=str(error))
    model.close()
    said = tuple(_said(slots) for slots in filled)
    right = tuple(text == "/".join(question.right) for text, question in zip(said, questions, strict=True))
    return Way(answers, said, right, tuple(slots.reason for slots in filled if isinstance(slots, NoAnswer)))


def _said(slots: Slots | NoAnswer) -> str:
    return str(slots.reason) if isinstance(slots, NoAnswer) else "/".join(max(slot, key=slot.__getitem__) for slot in slots)


def _table(questions: Sequence[Known], ways: dict[str, Way]) -> Table:
    table = Table("question", "known", *ways, title="what the server answers")
    for row, question in enumerate(questions):
        cells = [f"{'' if way.right[row] else '✗ '}{way.said[row]}" if way.said else "-" for way in ways.values()]
        table.add_row(question.name, "/".join(question.right), *cells)
    table.add_row("right", str(len(questions)), *(way.impossible or f"{way.score}" for way in ways.values()))
    return table


def _speed(config: DictConfig, answers: str) -> None:
    """Requests a second, each with a beginning that the server has not read, at several numbers at once."""
    question = known()[0]
    [turn] = question.conversation
    for at_once in config.at_once:
        model = _model(config, answers, concurrency=at_once)
        count = max(config.least, 2 * at_once)
        asked = [[{**turn, "content": [{"type": "text", "text": f"({at_once}-{i})"}, *turn["content"]]}] for i in range(count)]
        model.revision()
        start = time.perf_counter()
        filled, costs = model.fill(asked, [question.form] * count)
        seconds = time.perf_counter() - start
        tokens = sum(cost.tokens for cost in costs) / count
        model.close()
        failed = sum(isinstance(slots, NoAnswer) for slots in filled)
        print(
            f"{at_once:3} at once: {count / seconds:.1f} requests a second, {tokens:.0f} tokens a request"
            + f", {failed} of {count} without an answer" * bool(failed)
        )


def _config(config: DictConfig, answers: str) -> str:
    kept = (
        *("base_url", "model", "revision", "api_key_env", "key_over_http", "headers", "parameters", "fields", "image"),
        "thinking_tokens",
    )
    model = {key: config.judge.model[key] for key in kept if config.judge.model.get(key) is not None}
    plain = {key: OmegaConf.to_container(value) if isinstance(value, DictConfig) else value for key, value in model.items()}
    return str(yaml.safe_dump({"judge": {"model": {**plain, "answers": answers}}}, sort_keys=False))
