"""The adapted layer against peft's own, and against arithmetic."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from arr_rpo.policy import lora_linear
from arr_rpo.policy.lora_linear import LoraLinear, computed_leanly, one_product_is_less


class Model(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(24, 40, bias=bias)


def layers(bias: bool = True, dtype: torch.dtype = torch.float32, **config: object) -> tuple[Linear, Linear]:
    """peft's layer and ours, of the same numbers."""
    torch.manual_seed(3)
    model = inject_adapter_in_model(LoraConfig(r=4, lora_alpha=6, target_modules=["layer"], **config), Model(bias))
    model.layer.base_layer.to(dtype).requires_grad_(False)
    nn.init.normal_(model.layer.lora_B["default"].weight)
    ours = copy.deepcopy(model)
    computed_leanly(ours)
    return model.layer, ours.layer


def result(layer: Linear, x: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of x, A and B."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.float().square().sum().backward()
    grads = [x.grad, layer.lora_A["default"].weight.grad, layer.lora_B["default"].weight.grad]
    return [y.detach(), *[g for g in grads if g is not None]]


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("shape", [(24,), (7, 24), (2, 5, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_both_ways_are_pefts_layer(one: bool, shape: tuple[int, ...], bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora_linear, "one_product_is_less", lambda *_: one)
    theirs, ours = layers(bias)
    assert type(ours) is LoraLinear
    x = torch.randn(shape)
    for mine, other in zip(result(ours, x), result(theirs, x), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-4)
    for layer in (ours, theirs):
        layer.enable_adapters(False)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours(x), ours.base_layer(x))


def test_in_bfloat16_both_are_as_far_from_the_exact_product() -> None:
    theirs, ours = layers(dtype=torch.bfloat16)
    exact = copy.deepcopy(theirs).double()
    x = torch.randn(256, 24).bfloat16()
    wanted = exact(x.double())
    far = [float((layer(x).double() - wanted).square().mean().sqrt()) for layer in (ours, theirs)]
    assert ours(x).dtype == torch.bfloat16
    assert far[0] < 2 * far[1]
    assert ours.lora_A["default"].weight.dtype == torch.float32


def test_a_small_step_of_a_weight_shows_in_bfloat16() -> None:
    """As W + s B A, rounded, it would not."""
    _, ours = layers(dtype=torch.bfloat16)
    with torch.no_grad():
        ours.lora_B["default"].weight.mul_(1e-3)
        x = torch.randn(64, 24).bfloat16()
        changed = ours(x).float() - ours.base_layer(x).float()
        assert changed.abs().sum() > 0


def test_autocast_takes_the_way_of_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """There W + s B A would be rounded to bfloat16 too."""
    monkeypatch.setattr(lora_linear, "one_product_is_less", lambda *_: pytest.fail("asked for one product"))
    _, ours = layers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(torch.randn(3, 24)).dtype == torch.bfloat16


def test_what_peft_does_otherwise_stays_pefts() -> None:
    theirs, ours = layers(lora_dropout=0.5)
    x = torch.randn(3, 24)
    torch.manual_seed(1)
    wanted = theirs(x)
    torch.manual_seed(1)
    assert torch.equal(ours(x), wanted)
    theirs, ours = layers(use_dora=True)
    assert torch.equal(ours(x), theirs(x))
    theirs, ours = layers()
    for layer in (theirs, ours):
        layer.merge()
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("i", "o", "rank", "rows", "rollout", "training"),
    [
        (128, 128, 32, 9728, True, True),  # the embedded policy's attention, 128 pictures
        (128, 768, 32, 128, True, False),  # its modulation: a row a picture
        (3072, 3072, 16, 8 * 1536, True, False),  # FLUX.1 in float32: the whole weight's gradient would cost a third more
    ],
)
def test_the_cheaper_way_is_taken(i: int, o: int, rank: int, rows: int, rollout: bool, training: bool) -> None:
    a, b = torch.zeros(rank, i, requires_grad=True), torch.zeros(o, rank, requires_grad=True)
    assert one_product_is_less(rows, a, b) is training
    with torch.no_grad():
        assert one_product_is_less(rows, a, b) is rollout
