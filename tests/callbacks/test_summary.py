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


def test_before_and_after_are_of_the_same_prompts() -> None:
    """Those that failed once are in neither: else the easy ones that are left would look like progress."""
    heldout: Any = SimpleNamespace(
        measures={"score": SimpleNamespace(criteria={})},
        results={
            BEFORE: {"heldout": {"score": taken(easy=0.8, hard=0.2, odd=None)}},
            AFTER: {"heldout": {"score": taken(easy=0.9, hard=None, odd=0.1)}},
        },
        asked={},
    )
    found = measures(heldout)["score"]
    assert (found["before"], found["after"], found["missing"]) == (0.8, 0.9, 1)
    assert found["by_tag"]["t"] == {"before": 0.8, "after": 0.9}
    assert found["figures"]["half"] == {"before": pytest.approx(0.4), "after": pytest.approx(0.45)}
    assert found["unseen"] == {"before": None, "after": None}
