"""Our own format, for pairs that come in none of the published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Unpack

from arr_rpo.data.preferences.from_files import PairReading, ReadPairs, UnopenedPair
from arr_rpo.data.tables import Row
from arr_rpo.types import Outcome, UserError

KEYS = ("prompt", "a", "b", "better", "id", "subset", "source", "metadata")


def jsonl(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """An object a line: `prompt, a, b, better` ("A", "B" or "tie"), and perhaps `id, subset, source, metadata`.

    Raises:
        UserError: an unknown key or label; a misspelt one would otherwise be silence.
    """

    def of_row(row: Row) -> Iterator[UnopenedPair]:
        if unknown := sorted(set(row) - set(KEYS)):
            raise UserError(f"{row.where}: unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
        if row["better"] not in ("A", "B", "tie"):
            raise UserError(f"{row.where}: better is {row['better']!r}; it may be A, B or tie")
        name, label = str(row.get("id", row.id)), Outcome(row["better"])
        subset, metadata = row.get("subset"), row.get("metadata")
        if not isinstance(subset, str | int | float | None) or not isinstance(metadata, Mapping | None):
            raise UserError(
                f"{row.where}: a subset is a name and metadata are an object, not {subset!r:.40} and {metadata!r:.40}"
            )
        more = {"subset": "" if subset is None else str(subset), "source": row.get("source"), "metadata": metadata or {}}
        yield UnopenedPair(row.where, name, row.text("prompt"), row["a"], row["b"], label, **more)

    return ReadPairs(path, of_row, **reading)
