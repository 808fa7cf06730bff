"""What was computed is kept within limits: on the device, in memory, on disk; and comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arr_rpo.policy.encodings import GIB, Encodings
from arr_rpo.types import UserError

ENTRY = 4000  # bytes of each entry below


def holding(device: float, host: float) -> Encodings:
    """Room for so many entries."""
    return Encodings(device_gib=device * ENTRY / GIB, host_gib=host * ENTRY / GIB)


def entry(number: float, asked: list[float] | None = None) -> Callable[[], Tensor]:
    def compute() -> Tensor:
        if asked is not None:
            asked.append(number)
        return torch.full((1000,), float(number))

    return compute


def counts(encodings: Encodings) -> tuple[float, float, float]:
    return encodings.device_bytes / ENTRY, encodings.host_bytes / ENTRY, encodings.disk_bytes / ENTRY


def test_the_least_recently_used_goes_first_and_is_computed_again() -> None:
    asked: list[float] = []
    encodings = holding(device=2, host=1)
    for key in (0, 1, 2, 0, 3):  # 1 was not asked for the longest, when 3 came
        encodings.get(key, entry(key, asked), lasting=False)
    assert (asked, encodings.hits, encodings.misses) == ([0, 1, 2, 3], 1, 4)
    assert counts(encodings) == (2, 1, 0)
    for key in (0, 2, 3):
        assert encodings.get(key, entry(key, asked), lasting=False)[0] == key
    assert asked == [0, 1, 2, 3]
    encodings.get(1, entry(1, asked), lasting=False)
    assert asked == [0, 1, 2, 3, 1]
    assert counts(encodings) == (2, 1, 0)


def test_what_cannot_be_computed_again_lies_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    encodings, asked = holding(device=1, host=1), list[float]()
    for _ in range(3):
        for key in range(6):
            assert encodings.get(key, entry(key, asked), lasting=True).tolist() == [key] * 1000
            assert encodings.device_bytes <= ENTRY and encodings.host_bytes <= ENTRY
    assert asked == [0, 1, 2, 3, 4, 5]
    assert (encodings.hits, encodings.misses) == (12, 6)
    assert counts(encodings) == (1, 1, 6)
    assert len(list(tmp_path.glob("arr_rpo_encodings_*/*.safetensors"))) == 6  # one each, however often it came and went
    del encodings
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("device", "host"), [(1000, 0), (0, 1000), (0, 0)], ids=["device", "host", "disk"])
def test_a_value_comes_back_to_the_bit_and_in_its_form(device: float, host: float) -> None:
    encodings = holding(device, host)
    base = torch.randn(2, 3, 4).bfloat16()
    value: Any = (base, [base[0], base.transpose(0, 2)], None, torch.tensor([True, False]), (torch.tensor(7), "text", ()))
    encodings.get("k", lambda: value, lasting=True)
    got = encodings.get("k", lambda: pytest.fail("it was there"), lasting=True)
    assert isinstance(got, tuple) and isinstance(got[1], list) and got[2] is None
    pairs = [
        (got[0], base),
        (got[1][0], base[0]),
        (got[1][1], base.transpose(0, 2)),
        (got[3], value[3]),
        (got[4][0], value[4][0]),
    ]
    for ours, theirs in pairs:
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype
    assert got[4][1:] == ("text", ())


def test_an_entry_above_the_limits_takes_no_place_of_others() -> None:
    encodings, asked = holding(device=2, host=1), list[float]()
    for key in (0, 1, 2):
        encodings.get(key, entry(key, asked), lasting=False)
    for _ in range(2):
        assert encodings.get("large", lambda: torch.ones(4 * 1000), lasting=False).sum() == 4000
    assert counts(encodings) == (2, 1, 0)
    for key in (0, 1, 2):
        encodings.get(key, entry(key, asked), lasting=False)
    assert asked == [0, 1, 2]


def test_bytes_are_those_that_stay_allocated() -> None:
    """A view keeps all of its storage; two views keep one."""
    encodings = holding(device=10, host=10)
    encodings.get("views", lambda: (large := torch.ones(1000), large[:10], [large[None]])[1:], lasting=False)
    assert encodings.device_bytes == ENTRY


def test_entries_come_back_to_the_device_where_they_were_computed() -> None:
    """No GPU here: the device that holds nothing shows where they go."""
    encodings = holding(device=1, host=10)
    encodings.get("meta", lambda: torch.empty(1000, device="meta"), lasting=False)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        encodings.get("cpu", entry(1), lasting=False)  # sends the other to memory


def test_settings_and_a_full_disk_are_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"device_gib=-1\.0"):
        Encodings(device_gib=-1.0, host_gib=1.0)
    encodings = holding(device=0, host=0)
    monkeypatch.setattr(
        "arr_rpo.policy.encodings.save_file", lambda *_: Path("/dev/full").write_text("x" * 10**5, encoding="utf-8")
    )
    with pytest.raises(UserError, match=r"No space left.*host_gib.*TMPDIR"):
        encodings.get(1, entry(1), lasting=True)
