"""What a summary says of measures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from arr_rpo.callbacks.heldout import AFTER, BEFORE
from arr_rpo.callbacks.summary import measures
from arr_rpo.measure.base import Taken, Value


def taken(**values: float | None) -> Taken:
    return Taken({p: Value(v, {} if v is None else {"half": v / 2}) for p, v in values.items()}, dict.fromkeys(values, "t"))


def said(before: Taken, after: Taken) -> dict[str, Any]:
    heldout: Any = SimpleNamespace(
        measures={"score": SimpleNamespace(criteria={})},
        results={BEFORE: {"heldout": {"score": before}}, AFTER: {"heldout": {"score": after}}},
        asked={},
    )
    return measures(heldout)["score"]  # type: ignore[no-any-return]


def test_before_and_after_are_of_the_same_prompts() -> None:
    """Those that failed once are in neither: else the easy ones that are left would look like progress."""
    found = said(taken(easy=0.8, hard=0.2, odd=None), taken(easy=0.9, hard=None, odd=0.1))
    assert (found["before"], found["after"], found["missing"]) == (0.8, 0.9, 2)
    assert found["by_tag"]["t"] == {"before": 0.8, "after": 0.9}
    assert found["figures"]["half"] == {"before": pytest.approx(0.4), "after": pytest.approx(0.45)}
    assert found["unseen"] == {"before": None, "after": None}


def test_what_has_no_value_at_all_keeps_its_figures() -> None:
    """As signs of cheating have none, which are curves."""
    signs = Taken({"a": Value(None, {"stripes": 0.2}), "b": Value(None, {"stripes": 0.4})}, {"a": "", "b": ""})
    found = said(signs, signs)
    assert found["figures"]["stripes"] == {"before": pytest.approx(0.3), "after": pytest.approx(0.3)}
    assert (found["before"], found["after"], found["missing"]) == (None, None, 2)


def test_of_a_server_that_was_down_before_the_end_is_told() -> None:
    found = said(taken(a=None, b=None), taken(a=0.5, b=0.7))
    assert (found["before"], found["after"], found["missing"]) == (None, pytest.approx(0.6), 2)


def test_prompts_that_were_not_there_before_are_in_neither() -> None:
    """A file of prompts that has changed since the start."""
    found = said(taken(a=0.5), taken(a=0.6, new=0.1))
    assert (found["before"], found["after"], found["missing"]) == (0.5, 0.6, 1)
