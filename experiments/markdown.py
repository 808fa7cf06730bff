"""Tables of means and intervals, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from arr_rpo.report.statistics import t_interval


def said(values: Sequence[float], *, signed: bool = True, digits: int = 3) -> str:
    """The mean and its 95% interval (Student's t), where there is one."""
    if not values:
        return "-"
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    if len(values) < 2 or any(map(math.isnan, values)):
        return form.format(fmean(values))
    return f"{form} ({form} to {form})".format(fmean(values), *t_interval(list(values), 0.95))


def fallen(values: Sequence[float]) -> str:
    """How far something ends from its best: no interval where it ends there, which is what was chosen and not what was seen."""
    return said(values) if any(values) else "the last is the best"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join(lines + [f"| {' | '.join(map(str, cells))} |" for cells in rows])
