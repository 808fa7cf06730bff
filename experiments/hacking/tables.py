"""`python -m experiments.hacking.tables`: the tables of each CSV file of this folder, as `tables/NAME.md`.

A test compares these with the files, and the tables of README.md with these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.whole_files import write_text
from experiments import kept
from experiments.hacking import analyse, best_of_n, courses, criteria, decompose, diversity, other_pairs

HERE = Path(__file__).parent
FILES: dict[str, tuple[type[Any], Callable[[Sequence[Any]], str]]] = {
    "courses": (courses.Point, analyse.tables),
    "criteria": (criteria.Found, criteria.tables),
    "decomposition": (decompose.Part, decompose.tables),
    "other_pairs": (other_pairs.Seen, other_pairs.tables),
    "diversity": (diversity.Differ, diversity.tables),
    "best_of_n": (best_of_n.Best, best_of_n.tables),
}


def page(name: str) -> str:
    kind, tables = FILES[name]
    rows = [*kept.read(kind, HERE / f"{name}.csv")]
    return f"# {name}.csv\n\nWhat the columns are stands in [README.md](../README.md).\n\n{tables(rows)}\n"


@plain_errors
def main() -> None:
    (HERE / "tables").mkdir(exist_ok=True)
    for name in FILES:
        write_text(HERE / "tables" / f"{name}.md", page(name))


if __name__ == "__main__":
    main()
