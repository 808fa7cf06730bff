"""The tables of a report, as cells of text: what the page and the Markdown both print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arr_rpo.report.analysis import CONDITIONS, Analysis, ArmResult, Comparison, Estimate
from arr_rpo.report.sentences import NOTHING, amount, form_of
from arr_rpo.report.study import Run, Study


@dataclass(frozen=True)
class Cell:
    """text, with what stands smaller below it. span: (low, value, high) of an interval to be drawn, or None."""

    text: str
    below: str = ""
    span: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Table:
    """rows: cells, as many as `head`; the first of each names its row. numeric: columns of numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()

    @property
    def spans(self) -> tuple[float, float]:
        """The range of all intervals that are to be drawn, with 0 in it."""
        ends = [end for row in self.rows for cell in row if cell.span for end in (cell.span[0], cell.span[2])]
        return min([0.0, *ends]), max([0.0, *ends])


def results(study: Study, analysis: Analysis) -> Table:
    """A row an arm: means over its finished runs, with intervals."""
    head = ("arm", "runs", "before", "after", "change", "KL (nats an image)", "images", "judge calls", "minutes")
    rows = [
        (
            Cell(arm.arm, "the reference" if arm.arm == study.reference else ""),
            Cell(_runs(arm, study)),
            Cell(share(arm.before)),
            Cell(share(arm.after), around(arm.after)),
            Cell(signed(arm.change), _with_note(arm.change), span(arm.change)),
            Cell(share(arm.kl, ".1f"), around(arm.kl, ".1f")),
            Cell(share(arm.images, ",.0f")),
            Cell(share(arm.judge_calls, ",.0f")),
            Cell(form_of(None if arm.seconds is None else arm.seconds.value / 60, ".1f")),
        )
        for arm in analysis.arms
    ]
    return Table(head, tuple(rows), frozenset(range(1, len(head))))


def figures(analysis: Analysis) -> Table:
    """A row an arm that ended: the measure's further figures after training. Without rows where no run has any."""
    names = list(dict.fromkeys(name for arm in analysis.arms for name in arm.figures_after))
    rows = [
        (Cell(arm.arm), *(Cell(share(found), around(found)) for found in (arm.figures_after.get(name) for name in names)))
        for arm in analysis.arms
        if arm.figures_after
    ]
    return Table(("arm", *names), tuple(rows), frozenset(range(1, len(names) + 1)))


def comparisons(analysis: Analysis) -> Table:
    """A row for each pair of arms: the paired difference under each condition with data. Without rows where none has."""
    conditions = [c for c in CONDITIONS if any(found.difference for found in analysis.under(c))]
    pairs = list(dict.fromkeys((c.arm, c.reference) for c in analysis.comparisons))
    found = {(c.arm, c.reference, c.condition): c for c in analysis.comparisons}
    rows = [
        (Cell(f"{arm} − {reference}"), *(_difference(found.get((arm, reference, condition))) for condition in conditions))
        for arm, reference in pairs
        if conditions
    ]
    return Table(("difference", *(f"at {c}" if c != "end" else "at the end" for c in conditions)), tuple(rows))


def _difference(found: Comparison | None) -> Cell:
    if found is None or found.difference is None:
        return Cell(NOTHING, "no data")
    p = "" if found.p_holm is None else f", p {'< 0.001' if found.p_holm < 0.001 else f'= {found.p_holm:.3f}'}"
    where = "" if found.at is None else f" at {amount(found.condition, found.at)}"
    text = f"{signed(found.difference)}: {found.result}"
    return Cell(text, f"{around(found.difference, '+.3f')}; {found.difference.counted}{p}{where}", span(found.difference))


def runs(study: Study) -> Table:
    """A row a run: where it is, how far it came, and what it ran on."""
    rows = [
        (
            Cell(run.name),
            Cell(run.arm),
            *[Cell(run.of or NOTHING)] * bool(study.replicates),
            Cell(NOTHING if run.seed is None else str(run.seed)),
            Cell("finished" if run.finished else "not finished"),
            Cell(form_of(last_update(run), ",.0f")),
            Cell(form_of(run.images, ",.0f")),
            Cell(form_of(run.judge_calls, ",.0f")),
            Cell(run.commit or NOTHING),
        )
        for run in study.runs
    ]
    of = (study.replicates,) if study.replicates else ()
    head = ("run", "arm", *of, "seed", "state", "updates", "images", "judge calls", "commit")
    return Table(head, tuple(rows), frozenset(number + len(of) for number in (2, 4, 5, 6)))


def config_differences(study: Study) -> Table:
    """The keys whose values are not the same in every arm, without seeds, folders, and copies of a key in another place."""
    by_key = _values_by_key(study)
    differing = {key: values for key, values in by_key.items() if len(set(values)) > 1 and not _is_copy(key, by_key)}
    rows = [(Cell(key), *map(Cell, values)) for key, values in sorted(differing.items())]
    return Table(("key", *study.arms), tuple(rows))


def _values_by_key(study: Study) -> dict[str, tuple[str, ...]]:
    """Key -> for each arm, its runs' value or values, as text, of what all arms have been repeated over."""
    shared = set.intersection(*({run.of for run in study.of(arm)} for arm in study.arms)) if study.arms else set()
    found: dict[str, dict[str, set[str]]] = {}
    for run in [run for run in study.runs if run.of in shared] or study.runs:
        place = str(run.config.get("run_dir", run.folder))
        for key, value in flat(run.config):
            if key.split(".")[-1] not in ("seed", "run_dir", "resume") and key.split(".")[0] != "study":
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                found.setdefault(key, {}).setdefault(run.arm, set()).add(text.replace(place, "<run folder>"))
    return {key: tuple(" | ".join(sorted(arms.get(arm, {NOTHING}))) for arm in study.arms) for key, arms in found.items()}


def _is_copy(key: str, values: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a shorter key says the same: a composed config repeats `judge.x` as `callbacks.rubric_reward.judge.x`."""
    parts = key.split(".")
    shorter = (".".join(parts[first:]) for first in range(1, len(parts) - 1))
    return any(values.get(other) == values[key] for other in shorter)


def flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything that is no mapping, and of empty mappings."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def last_update(run: Run) -> int | None:
    """Updates done, as far as the run's curves and measurements say."""
    ends = [curve.updates[-1] for curve in run.curves.values() if curve.updates] + [point.update for point in run.progress]
    return max(ends, default=None)


def share(found: Estimate | None, form: str = ".3f") -> str:
    return form_of(None if found is None else found.value, form)


def signed(found: Estimate | None) -> str:
    return share(found, "+.3f")


def around(found: Estimate | None, form: str = ".3f") -> str:
    """The interval in words, or nothing."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{form_of(found.low, form)} to {form_of(found.high, form)}"


def _with_note(found: Estimate | None) -> str:
    return "" if found is None else "; ".join(filter(None, (around(found, "+.3f"), found.note)))


def span(found: Estimate | None) -> tuple[float, float, float] | None:
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.value, found.high


def _runs(arm: ArmResult, study: Study) -> str:
    finished, started = len(arm.replicates), len(study.of(arm.arm))
    return str(finished) if finished == started else f"{finished} of {started}"
