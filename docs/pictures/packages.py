"""`python docs/pictures/packages.py`: draws packages.svg, the packages of `arr_rpo` and what each imports, of the import graph.

Rows are the layers of setup.cfg, which `lint-imports` holds. Of a package's arrows those are left out that follow from others
(training goes by way of the policy to the formulas), and all to the lowest two rows, which nearly everything knows.
"""

from __future__ import annotations

import configparser
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp

HERE = Path(__file__).parent
WIDTH, ROW, BOX = 960, 76, (118, 30)
KNOWN_TO_ALL = 2  # rows, from the bottom
STYLE = (
    "text{font:600 13px sans-serif;fill:#1c2733}rect{fill:#eef3f8;stroke:#7d93a8}"
    "path{fill:none;stroke:#52708c;stroke-width:1.1;opacity:.75}rect.all{fill:#f7f7f4;stroke:#c4c4b8}"
)
Edges = Mapping[str, set[str]]


def layers() -> list[list[str]]:
    """Of setup.cfg, from the top."""
    config = configparser.ConfigParser()
    config.read(HERE.parents[1] / "setup.cfg", encoding="utf-8")
    rows = config["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.strip() for name in row.split("|")] for row in rows if row.strip()]


def imports(names: Sequence[str]) -> dict[str, set[str]]:
    """Package -> packages that it imports itself."""
    graph = grimp.build_graph("arr_rpo")
    owner = {module: module.split(".")[1] for module in graph.modules if module.count(".")}
    found: dict[str, set[str]] = {name: set() for name in names}
    for module, name in owner.items():
        if name in found:
            known = {owner[other] for other in graph.find_modules_directly_imported_by(module) if other in owner}
            found[name] |= known & set(names) - {name}
    return found


def reduced(edges: Edges) -> dict[str, set[str]]:
    """Without those that follow from others."""

    def below(name: str) -> set[str]:
        return edges[name].union(*(below(other) for other in edges[name]))

    return {name: {b for b in direct if not any(b in below(c) for c in direct - {b})} for name, direct in edges.items()}


def places(rows: Sequence[Sequence[str]], edges: Edges) -> dict[str, tuple[float, float]]:
    """Middle of each box. Within a row a package stands near the middle of those that know it."""
    at: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        above = {name: [at[a][0] for a, known in edges.items() if name in known and a in at] for name in row}
        ordered = sorted(row, key=lambda name: sum(above[name]) / len(above[name]) if above[name] else WIDTH / 2)
        for place, name in enumerate(ordered):
            shift = (-1) ** number * 46 if len(row) == 1 else 0  # so that an arrow passes beside a box
            at[name] = (WIDTH * (place + 0.5) / len(row) + shift, ROW * (number + 0.5))
    return at


def drawn(rows: Sequence[Sequence[str]], edges: Edges) -> Iterator[str]:
    """The lines of the SVG."""
    at, (width, height) = places(rows, edges), BOX
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(rows)}" role="img" style="background:#fff">'
    yield "<title>The packages of arr_rpo and what each imports</title>"
    yield f'<style>{STYLE}</style><defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    yield ' orient="auto"><path d="M0,1 L7,4 L0,7" /></marker></defs>'
    for name, known in edges.items():
        for other in sorted(known):
            (x0, y0), (x1, y1) = at[name], at[other]
            y0, y1 = y0 + height / 2, y1 - height / 2 - 1
            middle = (y0 + y1) / 2
            curve = f"M{x0:.0f},{y0:.0f} C{x0:.0f},{middle:.0f} {x1:.0f},{middle:.0f} {x1:.0f},{y1:.0f}"
            yield f'<path d="{curve}" marker-end="url(#end)"/>'
    lowest = {name for row in rows[-KNOWN_TO_ALL:] for name in row}
    for name, (x, y) in at.items():
        kind = ' class="all"' if name in lowest else ""
        yield f'<rect{kind} x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" height="{height}" rx="5"/>'
        yield f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{name}</text>'
    yield "</svg>"


def main() -> None:
    rows = layers()
    names = [name for row in rows for name in row]
    lowest = {name for row in rows[-KNOWN_TO_ALL:] for name in row}
    found = {name: set() if name in lowest else known - lowest for name, known in imports(names).items()}
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "packages.svg"
    target.write_text("\n".join(drawn(rows, reduced(found))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
