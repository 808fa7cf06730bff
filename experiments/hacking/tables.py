"""`python -m experiments.hacking.tables`: the tables of each CSV file of this folder, as `tables/NAME.md`, and those of
README.md brought up to date: a table there whose heads are those of one here.

A test compares these with the files, and the tables of README.md with these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.whole_files import write_text
from experiments import kept
from experiments.hacking import analyse, best_of_n, confirmed, courses, criteria, decompose, diversity, other_pairs

HERE = Path(__file__).parent
FILES: dict[str, tuple[type[Any], Callable[[Sequence[Any]], str]]] = {
    "courses": (courses.Point, analyse.tables),
    "criteria": (criteria.Found, criteria.tables),
    "confirmed": (criteria.Found, confirmed.tables),
    "decomposition": (decompose.Part, decompose.tables),
    "other_pairs": (other_pairs.Seen, other_pairs.tables),
    "diversity": (diversity.Differ, diversity.tables),
    "best_of_n": (best_of_n.Best, best_of_n.tables),
}


def page(name: str) -> str:
    kind, tables = FILES[name]
    rows = [*kept.read(kind, HERE / f"{name}.csv")]
    return f"# {name}.csv\n\nWhat the columns are stands in [README.md](../README.md).\n\n{tables(rows)}\n"


def up_to_date(readme: str, pages: Sequence[str]) -> str:
    """With each of its tables as the pages have it, the first of those of the same heads."""
    made: dict[str, str] = {}
    for block in (block.strip() for some in pages for block in some.split("\n\n")):
        if block.startswith("|"):
            made.setdefault(_heads(block), block)
    return "\n\n".join(made.get(_heads(block), block) if block.startswith("|") else block for block in readme.split("\n\n"))


def _heads(table: str) -> str:
    """Without numbers: of how many runs it is may be said there."""
    return re.sub(r"\d+", "", table.split("\n", maxsplit=1)[0])


@plain_errors
def main() -> None:
    (HERE / "tables").mkdir(exist_ok=True)
    pages = {name: page(name) for name in FILES}
    for name, text in pages.items():
        write_text(HERE / "tables" / f"{name}.md", text)
    readme = HERE / "README.md"
    write_text(readme, up_to_date(readme.read_text(encoding="utf-8").rstrip(), [*pages.values()]) + "\n")


if __name__ == "__main__":
    main()
