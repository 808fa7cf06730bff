"""Judge benches side by side, as Markdown and as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arr_rpo.evaluation.bench_rows import Judged, file_of, read
from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.plain_files import read_json
from arr_rpo.run.layout import overrides_in
from arr_rpo.types import Outcome, UserError

COLUMNS = ("accuracy", "accuracy_decided", "accuracy_averaged", "order_gap", "flip_rate", "tie_rate", "failure_rate", "ece")
WITH_INTERVAL = ("accuracy", "flip_rate")
COSTS = ("calls", "tokens")


def arms(folders: Sequence[Path]) -> dict[str, Path]:
    """Arm -> folder of each finished bench below some folders. An arm is named by what its folder's name does not share with
    all others.

    Raises:
        UserError: two have one name.
    """
    paths = sorted({path.parent for folder in folders for path in folder.rglob("bench.json")})
    parts = {path: overrides_in(path.name) for path in paths}
    shared = set.intersection(*map(set, parts.values())) if len(paths) > 1 else set()
    benches: dict[str, Path] = {}
    for path, some in parts.items():
        arm = ", ".join(part for part in some if part not in shared) or path.name
        if arm in benches:
            raise UserError(f"{path} and {benches[arm]} are both called {arm!r}: rename one, or give folders of one sweep")
        benches[arm] = path
    return benches


def table(benches: dict[str, Path]) -> str:
    """A row a bench; the last column is what a budget of judge calls buys: right verdicts of 100 calls."""
    head = [*COLUMNS, *COSTS, "right in 100 calls"]
    lines = [f"| arm | pairs | {' | '.join(head)} |", "|---" * (len(head) + 2) + "|"]
    for arm, folder in benches.items():
        overall = figures_of(folder)
        first, calls = overall["accuracy"], overall["calls"]["value"]
        cells = [(_with_interval if name in WITH_INTERVAL else _value)(overall[name]) for name in COLUMNS]
        cells += [_value(overall[name], 1) for name in COSTS]
        bought = {
            key: 100 * first[key] / calls if calls and first[key] is not None else None for key in ("value", "low", "high")
        }
        cells.append(_with_interval(bought, 1))
        lines.append(f"| {arm} | {first['of']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paired(benches: dict[str, Path], baseline: str, how: Resampling) -> str:
    """Each arm's accuracy minus the baseline's on the pairs that both judged, with a bootstrap interval over prompts.

    Raises:
        UserError: there is no such arm.
    """
    if baseline not in benches:
        raise UserError(f"reference={baseline!r}: no such arm; there are {', '.join(map(repr, benches))}")
    own = read(file_of(benches[baseline]))
    lines = [f"| arm | pairs | accuracy minus that of {baseline} | {how.confidence:.0%} interval |", "|---|---|---|---|"]
    for arm, folder in benches.items():
        if arm != baseline:
            difference = minus(read(file_of(folder)), own, how)
            low, high = (f"{bound:+.3f}" if bound is not None else "-" for bound in (difference.low, difference.high))
            value = "-" if difference.value is None else f"{difference.value:+.3f}"
            lines.append(f"| {arm} | {difference.of} | {value} | {low} to {high} |")
    return "\n".join(lines)


def minus(judged: dict[str, Judged], others: dict[str, Judged], how: Resampling) -> Figure:
    """Mean over shared pairs with a strict label of right (1 or 0) minus right."""
    shared = [name for name in judged if name in others and judged[name].better in (Outcome.A, Outcome.B)]
    gains = [float(_right(judged[name])) - float(_right(others[name])) for name in shared]
    return share(gains, [1.0] * len(shared), [judged[name].prompt_id for name in shared], how)


def as_csv(benches: dict[str, Path]) -> str:
    """A row a figure of a bench."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "figure", "value", "low", "high", "of"])
    for arm, folder in benches.items():
        for name, figure in figures_of(folder).items():
            writer.writerow([arm, name, *(figure[key] for key in ("value", "low", "high", "of"))])
    return text.getvalue()


def figures_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Raises a UserError where the bench's figures cannot be read."""
    try:
        overall: dict[str, dict[str, Any]] = read_json(folder / "bench.json")["overall"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/bench.json holds no figures of a bench ({error!r}): give folders of benches") from error
    return overall


def _right(judged: Judged) -> bool:
    return judged.verdict.outcome is judged.better


def _value(figure: dict[str, Any], digits: int = 3) -> str:
    return "-" if figure["value"] is None else f"{figure['value']:.{digits}f}"


def _with_interval(figure: dict[str, Any], digits: int = 3) -> str:
    bounds = "" if figure["low"] is None else f" ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"
    return _value(figure, digits) + bounds
