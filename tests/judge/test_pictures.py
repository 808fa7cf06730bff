"""How a picture is shown to a judge."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arr_rpo.judge.asking import user
from arr_rpo.judge.pictures import AS_THEY_ARE, Pictures
from arr_rpo.types import UserError
from tests.conftest import make_judge
from tests.judge.server.serving.models import make_model
from tests.judge.server.serving.wire import completion, serving

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8))


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_as_it_is() -> None:
    assert AS_THEY_ARE.seen(NOISE) is NOISE
    assert np.array_equal(np.asarray(decoded(AS_THEY_ARE.encoded(NOISE))), np.asarray(NOISE))
    assert AS_THEY_ARE.name == ""


@pytest.mark.parametrize(("side", "size"), [(50, (50, 30)), (100, (100, 60)), (1, (1, 1)), (1000, (100, 60))])
def test_its_longer_side(side: int, size: tuple[int, int]) -> None:
    shown = Pictures(max_side=side, format="png", quality=90)
    assert shown.seen(NOISE).size == decoded(shown.encoded(NOISE)).size == size


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_with_loss_it_is_seen_as_it_arrives(name: str) -> None:
    shown = Pictures(max_side=None, format=name, quality=30)
    data = shown.encoded(NOISE)
    assert decoded(data).format == name.upper()
    assert len(data) < len(AS_THEY_ARE.encoded(NOISE))
    assert np.array_equal(np.asarray(shown.seen(NOISE)), np.asarray(decoded(data)))
    assert not np.array_equal(np.asarray(shown.seen(NOISE)), np.asarray(NOISE))
    assert len(Pictures(max_side=None, format=name, quality=90).encoded(NOISE)) > len(data)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I", "F", "1", "P", "LA"])
def test_every_mode_can_be_sent(mode: str) -> None:
    for name in ("png", "jpeg", "webp"):
        assert decoded(Pictures(max_side=20, format=name, quality=80).encoded(NOISE.convert("L").convert(mode))).size == (
            20,
            12,
        )


@pytest.mark.parametrize("changed", [{"max_side": 0}, {"format": "gif"}, {"quality": 0}, {"quality": 101}])
def test_settings(changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"image.{next(iter(changed))}"):
        Pictures(**{"max_side": None, "format": "png", "quality": 90, **changed})


def test_a_server_gets_it_so_and_another_setting_is_another_question(tmp_path: Any) -> None:
    with serving(lambda *_: completion("x")) as (url, seen):
        for image in (AS_THEY_ARE, Pictures(max_side=50, format="jpeg", quality=80)):
            make_model(url, image=image, cache_dir=str(tmp_path)).generate([[user(NOISE, "?")]], 9)
    first, second = (asked["messages"][0]["content"][0]["image_url"]["url"] for asked in seen.chats)
    assert first.startswith("data:image/png;base64,")
    assert second.startswith("data:image/jpeg;base64,")


def test_a_local_model_sees_it_so() -> None:
    small = make_judge("judge.model.image.max_side=16").asker.model
    [[turn]] = small.shown([[user("look", NOISE, "and look", NOISE)]])  # type: ignore[attr-defined]
    assert [part["image"].size for part in turn["content"] if part["type"] == "image"] == [(16, 10)] * 2
