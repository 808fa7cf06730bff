"""Small drawings as SVG text: intervals in a table's row, and the two figures that a README shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

# Okabe and Ito's colours, those that hold on white, and dashes for what comes after them: the same order as in the page.
COLOURS = ("#0072b2", "#d55e00", "#0b8a5f", "#a63f92", "#8a7400", "#332288", "#b8475a", "#4a4f59")
DASHES = ("", "7 4", "2 3", "9 3 2 3")
WIDTH, ROW, LEFT, RIGHT = 720, 26, 230, 150
INK, SOFT, LINE = "#1c1d21", "#5c606b", "#dfe0e4"


def bar(span: tuple[float, float, float], scale: tuple[float, float], width: int = 140, height: int = 14) -> str:
    """An interval (low, value, high) on a scale that other rows share, with a mark at 0. It takes the colours of the page."""
    x = _map(scale, 4, width - 4)
    low, value, high = map(x, span)
    middle = height / 2
    return (
        f'<svg class="interval" viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height}" stroke="var(--soft)" stroke-dasharray="2 2"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="var(--ink)" stroke-width="2"/>'
        f'<circle cx="{value:.1f}" cy="{middle}" r="4" fill="var(--accent)"/></svg>'
    )


def forest(rows: Sequence[tuple[str, tuple[float, float, float]]], title: str) -> str:
    """A figure: a row for each (name, (low, value, high)), on one axis with 0 in it."""
    ends = [end for _, (low, _, high) in rows for end in (low, high)]
    scale = min([0.0, *ends]), max([0.0, *ends])
    x = _map(scale, LEFT, WIDTH - RIGHT)
    height = ROW * len(rows) + 60
    parts = [
        _line(x(tick), x(tick), 34, height - 24, LINE) + _text(x(tick), height - 8, f"{tick:+.2g}") for tick in ticks(*scale)
    ]
    parts.append(_line(x(0), x(0), 34, height - 24, SOFT))
    for number, (name, (low, value, high)) in enumerate(rows):
        y = 34 + ROW * (number + 0.5)
        parts.append(_text(LEFT - 12, y + 4, name, "end", INK) + _line(x(low), x(high), y, y, INK, 2))
        parts.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="4.5" fill="{COLOURS[0]}"/>')
        parts.append(_text(WIDTH - RIGHT + 12, y + 4, f"{value:+.3f} ({low:+.3f} to {high:+.3f})", "start", INK, 11))
    return _figure(parts, height, title)


def lines(curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], title: str, x_label: str) -> str:
    """A figure: a line for each (name, x, y), named at its right end."""
    curves = [curve for curve in curves if len(curve[1])]
    ys = [value for _, _, y in curves for value in y]
    tick_y, last = ticks(min(ys), max(ys)), max(x[-1] for _, x, _ in curves)
    height, bottom, left = 360, 316, 56
    px, py = _map((0, last), left, WIDTH - RIGHT), _map((min(*ys, *tick_y), max(*ys, *tick_y)), bottom, 40)
    parts = [_line(left, WIDTH - RIGHT, py(t), py(t), LINE) + _text(left - 8, py(t) + 4, f"{t:g}", "end") for t in tick_y]
    parts += [_text(px(t), bottom + 18, f"{t:,.0f}") for t in ticks(0, last) if t <= last]
    parts.append(_text((left + WIDTH - RIGHT) / 2, height - 6, x_label))
    for number, (_, x, y) in enumerate(curves):
        points = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(x, y, strict=True))
        colour, dash = style(number)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{DASHES[dash]}"/>'
        )
    place = 0.0
    for end, name, colour in sorted((py(y[-1]), name, style(number)[0]) for number, (name, _, y) in enumerate(curves)):
        place = max(place + 14, end)
        parts.append(_text(WIDTH - RIGHT + 8, place + 4, name, "start", colour, 11))
    return _figure(parts, max(height, int(place) + 20), title)


def style(number: int) -> tuple[str, int]:
    """Colour and dash of the arm of that number."""
    return COLOURS[number % len(COLOURS)], number // len(COLOURS) % len(DASHES)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values, from at or below low to at or above high.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = ((high - low) or 1.0) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(first + 1, end) + 1)]


def _map(scale: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    low, high = scale
    return lambda value: start + (value - low) / ((high - low) or 1.0) * (end - start)


def _line(x1: float, x2: float, y1: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = SOFT, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'


def _figure(parts: Sequence[str], height: int, title: str) -> str:
    """On white, whatever the page around it is: a picture in a README knows no theme."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif"><title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>'
        + _text(12, 20, title, "start", INK, 14)
        + "\n".join(parts)
        + "</svg>\n"
    )
