"""The verdicts that a page shows: a sample of the runs' samples, each beside what the oracle says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from arr_rpo.report.files import picture, read_json
from arr_rpo.report.pictures import Album
from arr_rpo.report.study import Run, Study
from arr_rpo.report.tables import Cell, Table

DECIDED = ("A", "B")
SHOWN = frozenset(  # what a judged pair is shown with
    ("kind", "prompt", "outcome", "p_a", "p_a_by_order", "grades", "checks", "rubric", "reason", "pictures", "source", "oracle")
)
RELATIONS = {
    "agree": "judge and oracle say the same",
    "opposite": "judge and oracle say the opposite",
    "judge_undecided": "only the oracle decides",
    "oracle_undecided": "only the judge decides",
    "neither": "neither decides",
    "unknown": "no oracle, or no verdict",
}


def sample(study: Study, album: Album, limit: int, missing: list[str]) -> tuple[list[dict[str, Any]], int]:
    """At most `limit` judged pairs, as many of each run as of the others and spread over its updates, as JSON for the page;
    and how many there were. Files that cannot be read are named in `missing`."""
    by_run = {run.name: read(run, missing) for run in study.runs}
    with_pairs = [run for run in study.runs if by_run[run.name]]
    each = max(1, limit // max(1, len(with_pairs)))
    chosen: list[dict[str, Any]] = []
    for run in with_pairs[:limit]:
        found = by_run[run.name]
        picked = np.unique(np.linspace(0, len(found) - 1, min(each, len(found))).round().astype(int))
        for pair in (found[i] for i in picked):
            try:
                shown = _shown(pair, run, study, album)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # of another version, or worse
                missing.append(f"{run.name}: a judged pair of update {pair['update']} is in no form that is known ({error})")
                continue
            chosen += [shown] if shown else []
    return chosen, sum(map(len, by_run.values()))


def read(run: Run, missing: list[str]) -> list[dict[str, Any]]:
    """A run's judged pairs with their update and folder, by update."""
    pairs: list[dict[str, Any]] = []
    for path in run.verdict_pictures:
        content = read_json(path, missing)
        named = content.get("pairs")
        named = [pair for pair in named if isinstance(pair, dict)] if isinstance(named, list) else []
        some = [{**pair, "update": content.get("update"), "folder": path.parent} for pair in named]
        whole = [pair for pair in some if pair["update"] is not None and set(pair) >= SHOWN]
        if len(whole) < len(some):
            missing.append(f"{run.name}: {len(some) - len(whole)} pairs of {path.name} lack what a verdict is shown with")
        pairs += whole
    return pairs


def _shown(pair: dict[str, Any], run: Run, study: Study, album: Album) -> dict[str, Any] | None:
    """None where a picture is missing: a verdict without what it is about shows nothing."""
    named = [picture(run.folder, pair["folder"] / str(name)) for name in pair["pictures"]]
    pictures = [path and album.add(path) for path in named]
    source = picture(run.folder, pair["folder"] / str(pair["source"])) if pair["source"] else None
    if None in pictures:
        return None
    return {
        "arm": study.arms.index(run.arm),
        "run": run.which or "one run",
        "update": pair["update"],
        **{key: pair[key] for key in ("kind", "prompt", "outcome", "p_a", "grades", "rubric", "reason")},
        "by_order": pair["p_a_by_order"],
        "checks": [{"name": name, "question": question, "p": said} for name, question, said in pair["checks"]],
        "pictures": pictures,
        "source": source and album.add(source),
        "oracle": _oracle(pair["oracle"]),
        "relation": relation(pair["outcome"], pair["oracle"]),
    }


def _oracle(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    met = np.asarray([answers for _, answers in found["criteria"]], dtype=int).sum(axis=0).tolist()
    return {"outcome": found["outcome"], "checks": found["checks"], "criteria": found["criteria"], "met": met}


def relation(outcome: str | None, oracle: dict[str, Any] | None) -> str:
    """How the judge's outcome stands to the oracle's: a key of `RELATIONS`."""
    truth = oracle["outcome"] if oracle else None
    if truth is None or outcome in (None, "failed"):
        return "unknown"
    if outcome == truth:
        return "agree"
    if outcome in DECIDED and truth in DECIDED:
        return "opposite"
    if truth in DECIDED:
        return "judge_undecided"
    return "oracle_undecided" if outcome in DECIDED else "neither"


def agreement(shown: Sequence[dict[str, Any]], study: Study) -> Table:
    """A row an arm: what the oracle says of the pairs that are shown."""
    rows = []
    for number, arm in enumerate(study.arms):
        pairs = [pair for pair in shown if pair["arm"] == number]
        count = Counter(pair["relation"] for pair in pairs)
        decided = count["agree"] + count["opposite"] + count["judge_undecided"]
        decided -= sum(pair["relation"] == "agree" and pair["outcome"] == "tie" for pair in pairs)
        right = sum(pair["relation"] == "agree" and pair["outcome"] in DECIDED for pair in pairs)
        flips = sum(pair["outcome"] == "inconsistent" for pair in pairs)
        cells = (len(pairs), decided, right, count["opposite"], count["judge_undecided"], flips)
        if pairs:
            rows.append((Cell(arm), *(Cell(str(n)) for n in cells)))
    said = ("judge: same", "judge: opposite", "judge: undecided")
    return Table(
        ("arm", "pairs shown", "the oracle decides", *said, "flips, of all shown"), tuple(rows), frozenset(range(1, 7))
    )
