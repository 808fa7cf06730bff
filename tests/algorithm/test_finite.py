"""What an update that is taken back takes back."""

from __future__ import annotations

import torch
from torch import nn

from arr_rpo.algorithm.finite import Snapshot


def test_a_state_that_an_optimizer_keeps_in_its_groups_goes_back_too() -> None:
    """As Prodigy keeps its estimate of the rate."""
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    optimizer.param_groups[0] |= {"d": 0.5, "moving": torch.tensor([1.0])}
    before = Snapshot({"w": weight}, optimizer)
    with torch.no_grad():
        weight.zero_()
    optimizer.param_groups[0]["d"] = 7.0
    optimizer.param_groups[0]["moving"].zero_()
    before.restore()
    assert weight.tolist() == [1.0, 1.0]
    assert optimizer.param_groups[0]["d"] == 0.5
    assert optimizer.param_groups[0]["moving"].tolist() == [1.0]
