"""What the bench keeps of each judged pair: a line of `judged_pairs.jsonl`, from which all its figures follow."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arr_rpo.data.preferences.base import Truth
from arr_rpo.plain_files import lines
from arr_rpo.strict_json import decode
from arr_rpo.types import Cost, CriterionCheck, Outcome, Preference, Reason, UserError, Verdict


@dataclass(frozen=True)
class JudgedCheck:
    """A criterion of a verdict, with the right answers where an oracle knows them."""

    check: CriterionCheck
    truth_a: bool | None = None
    truth_b: bool | None = None


@dataclass(frozen=True)
class Judged:
    """A labelled pair and a judge's verdict on it.

    seconds: its share of the time that its batch took to judge. writing: what the rubrics of its batch took to write, all on
    the first pair of the batch.
    """

    id: str
    prompt_id: str
    subset: str
    better: Outcome
    verdict: Verdict
    checks: tuple[JudgedCheck, ...]
    seconds: float
    writing: Cost

    @classmethod
    def of(cls, pair: Preference, verdict: Verdict, seconds: float, writing: Cost, truth: Truth | None) -> Judged:
        checks = tuple(
            JudgedCheck(c, *(truth(pair.prompt, c.question, image) for image in (pair.a, pair.b))) if truth else JudgedCheck(c)
            for c in verdict.checks
        )
        return cls(pair.id, pair.prompt.id, pair.subset, pair.better, verdict, checks, seconds, writing)


def file_of(folder: Path) -> Path:
    """Of a bench's folder; one of before has the name that a run's own rows have, and goes on with it."""
    before = folder / "verdicts.jsonl"
    return before if before.is_file() else folder / "judged_pairs.jsonl"


def to_json(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "id": judged.id,
        "prompt_id": judged.prompt_id,
        "subset": judged.subset,
        "better": str(judged.better),
        "outcome": str(verdict.outcome),
        "p_a": verdict.p_a,
        "p_a_by_order": verdict.p_a_by_order,
        "checks": [{**dataclasses.asdict(c.check), "truth_a": c.truth_a, "truth_b": c.truth_b} for c in judged.checks],
        "calls": verdict.cost.calls,
        "tokens": verdict.cost.tokens,
        "seconds": judged.seconds,
        "writing_calls": judged.writing.calls,
        "writing_tokens": judged.writing.tokens,
        "reason": verdict.reason,
        "failure": verdict.failure,
    }


def _check(row: Mapping[str, Any]) -> CriterionCheck:
    leads = row.get("leads")  # no bench of before has them
    return CriterionCheck(row["name"], row["question"], row["a"], row["b"], (leads[0], leads[1]) if leads else None)


def from_json(row: dict[str, Any]) -> Judged:
    """The inverse of `to_json`, exactly."""
    checks = tuple(JudgedCheck(_check(c), c["truth_a"], c["truth_b"]) for c in row["checks"])
    verdict = Verdict(
        Outcome(row["outcome"]),
        row["p_a"],
        None if row["p_a_by_order"] is None else (row["p_a_by_order"][0], row["p_a_by_order"][1]),
        tuple(c.check for c in checks),
        Cost(row["calls"], row["tokens"]),
        row["reason"],
        Reason(row["failure"]) if row.get("failure") else None,  # no bench of before named it
    )
    label, writing = Outcome(row["better"]), Cost(row["writing_calls"], row["writing_tokens"])
    return Judged(row["id"], row["prompt_id"], row["subset"], label, verdict, checks, row["seconds"], writing)


def append(path: Path, judged: Iterable[Judged]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(to_json(one)) + "\n" for one in judged)


def read(path: Path) -> dict[str, Judged]:
    """The pairs judged so far, by id; of several lines of a pair the last counts. The half of a line that a killed run may
    leave at the end is no line; the file stays as it is.

    Raises:
        UserError: another line is not one of ours.
    """
    if not path.is_file():
        return {}
    whole = (line for line in lines(path) if line.endswith(b"\n"))
    return {one.id: one for one in _parsed(path, whole)}


def cut_half_line(path: Path) -> None:
    """Takes off what a killed run may have left of a last line, so that the next one has a line of its own."""
    content = path.read_bytes() if path.is_file() else b""
    if not content.endswith(b"\n") and content:
        os.truncate(path, content.rfind(b"\n") + 1)


def _parsed(path: Path, whole: Iterable[bytes]) -> Iterable[Judged]:
    for number, line in enumerate(whole, start=1):
        try:
            yield from_json(decode(line))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{path}, line {number} is no verdict of a bench ({error!r}). Take the line out to go on."
            ) from error
