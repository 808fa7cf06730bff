"""Figures and comparisons in words."""

from __future__ import annotations

from arr_rpo.report.records import END, MATCHED_KL, Comparison


def form_of(value: float, form: str) -> str:
    """The number in that format; what rounds to zero has no minus sign."""
    text = format(value, form)
    return text if text.strip("-+0.,") or not text.startswith("-") else text.replace("-", "+" if "+" in form else "")


def amount(condition: str, at: float) -> str:
    """ "3,072 images", "KL 7.31" """
    return f"KL {at:.3g}" if condition == MATCHED_KL else f"{at:,.0f} {condition.removeprefix('equal ')}"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}" if p < 0.1 else f"p {p:.2f}"


def verdict(c: Comparison, result: str) -> str:
    """ "rubric > pairwise: not shown (+0.012, -0.020 to +0.044, Holm p 0.41, 5 seeds)" """
    claim = f"{c.arm} > {c.reference}{_where(c)}"
    if c.difference is None:
        return f"{claim}: no data ({'; '.join(c.limits) or 'no seed that both arms finished'})"
    said = {"reversed": f"reversed, {c.reference} is better"}.get(result, result)
    figures = [form_of(c.difference.value, "+.3f")]
    if c.difference.low is not None and c.difference.high is not None:
        figures.append(f"{form_of(c.difference.low, '+.3f')} to {form_of(c.difference.high, '+.3f')}")
    figures += [c.difference.note] if c.p_holm is None else [f"Holm {p_text(c.p_holm)}", f"{len(c.seeds)} seeds"]
    return f"{claim}: {said} ({', '.join(figures)})"


def _where(c: Comparison) -> str:
    if c.condition == END:
        return ""
    return f" at {c.condition if c.at is None else amount(c.condition, c.at)}"
