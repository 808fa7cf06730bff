"""Multimodal RewardBench 2 (arXiv 2512.16899, CC BY-NC, for evaluation only), and the file that its scorer reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Unpack

from arr_rpo.data.arrow import elements
from arr_rpo.data.images import ImageRef
from arr_rpo.data.preferences.from_files import PairReading, ReadPairs, UnopenedPair
from arr_rpo.data.tables import Row
from arr_rpo.types import Outcome, UserError, Verdict

PLACE = re.compile(r"\s*<image_\d+>\s*")
Content = tuple[str, Sequence[ImageRef]]


def mmrb2(*, path: str, **reading: Unpack[PairReading]) -> ReadPairs:
    """The benchmark's local JSON ({"pairs": [{id, prompt_content, response_a, response_b, chosen}]}) or the hub's parquet
    files (`pair_id, prompt_text, prompt_images, response_{a,b}_images, chosen`). Subset: where the prompt came from.

    A judge here looks at one image a candidate and at most one source image: pairs with other contents (all of
    `interleaved`, most of `reasoning`) are left out and counted.

    Raises:
        UserError: `swap_seed` is set; the official scorer knows the pairs in the file's order.
    """
    if reading["swap_seed"] is not None:
        raise UserError("preferences.swap_seed: MMRB2's scorer wants the file's order; set it to null")

    def of_row(row: Row) -> Iterator[UnopenedPair | str]:
        name, (text, sources), a, b = _local(row) if "prompt_content" in row else _hub(row)
        chosen = str(row["chosen"] or "").upper()
        if chosen not in ("A", "B"):
            yield "no label"
        elif len(a) != 1 or len(b) != 1:
            yield "a response without an image, or with several"
        elif len(sources) > 1:
            yield "several source images"
        elif not text:
            yield "a prompt without text"
        else:
            subset = str(row.get("prompt_source") or "")
            yield UnopenedPair(row.where, name, text, a[0], b[0], Outcome(chosen), subset, sources[0] if sources else None)

    return ReadPairs(path, of_row, **reading)


def prediction(verdict: Verdict) -> dict[str, list[dict[str, str]]]:
    """A verdict in MMRB2's format. `reverse` is the letter that the judge gave with B shown first, not turned back.

    An order in which the judge was of two minds is a "tie", which the scorer counts as wrong; a failed one is left empty,
    which it does not count.
    """
    if verdict.p_a_by_order is None:
        return {"forward": [], "reverse": []}
    first, second = verdict.p_a_by_order
    return {"forward": [{"judgement": _letter(first)}], "reverse": [{"judgement": _letter(1 - second)}]}


def _letter(p_shown_first: float) -> str:
    return "tie" if p_shown_first == 0.5 else ("A" if p_shown_first > 0.5 else "B")


def _local(row: Row) -> tuple[str, Content, Sequence[ImageRef], Sequence[ImageRef]]:
    def responses(key: str) -> Sequence[ImageRef]:
        return _content(row, row[key]["response_content"])[1]

    return row.text("id"), _content(row, row["prompt_content"]), responses("response_a"), responses("response_b")


def _content(row: Row, parts: Sequence[Any]) -> Content:
    """Text and images of [["text" | "image", value], ...]."""
    if not all(isinstance(part, Sequence) and len(part) == 2 and part[0] in ("text", "image") for part in parts):
        raise UserError(f'{row.where}: a content is a list of ["text" | "image", value], not {parts!r:.80}')
    return " ".join(value.strip() for kind, value in parts if kind == "text"), [v for kind, v in parts if kind == "image"]


def _hub(row: Row) -> tuple[str, Content, Sequence[ImageRef], Sequence[ImageRef]]:
    text = PLACE.sub(" ", row.get("prompt_text") or "").strip()
    prompt = text, elements(row["prompt_images"])
    return row.text("pair_id"), prompt, elements(row["response_a_images"]), elements(row["response_b_images"])
