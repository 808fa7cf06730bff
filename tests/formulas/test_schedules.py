"""Learning-rate factors."""

from __future__ import annotations

import pytest

from arr_rpo.formulas.schedules import constant, linear_decay, ramp


def test_factors() -> None:
    assert [constant(done) for done in (0.0, 0.5, 0.99)] == [1.0, 1.0, 1.0]
    assert [linear_decay(done) for done in (0.0, 0.25, 0.75)] == pytest.approx([1.0, 0.75, 0.25])


def test_ramp() -> None:
    assert [ramp(update, slope=0.1, maximum=0.25) for update in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.25])
