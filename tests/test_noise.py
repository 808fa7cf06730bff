"""Named streams: distinct, repeatable, independent of their neighbours, and the only source of a run's randomness."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest
import torch

import arr_rpo
from arr_rpo.noise import Name, Noise, Purpose, draws, generator

SOURCE = Path(arr_rpo.__file__).parent

# The docstring of `noise` says why. `commands.runs.training` seeds the global generators, for libraries that make weights.
EXCEPTIONS = {"noise.py", "report/statistics.py", "evaluation/bootstrap.py"}
MAKERS = ("torch.Generator(", "manual_seed", "default_rng(", "seed_everything", "np.random.seed", "random.Random(")


def test_nothing_else_makes_a_generator() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), maker)
        for path in SOURCE.rglob("*.py")
        for maker in MAKERS
        if path.relative_to(SOURCE).parts[0] != "shapes" and maker in path.read_text(encoding="utf-8")
    }
    assert {(path, maker) for path, maker in found if path not in EXCEPTIONS} == {
        ("commands/runs/training.py", "seed_everything")
    }


def first(purpose: Purpose, *names: Name) -> float:
    return float(torch.randn((), generator=generator(purpose, *names)))


def test_a_stream_is_known_by_its_purpose_and_names() -> None:
    """Also by how names are cut, in what order, and whether one is a number or its text."""
    names: list[tuple[Name, ...]] = [
        (),
        (1,),
        ("1",),
        (1, 12),
        (11, 2),
        (112,),
        (12, 1),
        ("1", 12),
        ("1,12",),
        ("", "a"),
        ("a", ""),
    ]
    found = [first(purpose, *some) for purpose, some in itertools.product(Purpose, names)]
    assert len(set(found)) == len(names) * len(Purpose)
    assert found == [first(purpose, *some) for purpose, some in itertools.product(Purpose, names)]
    assert draws(Purpose.DEAL, 1).random() == draws(Purpose.DEAL, 1).random() != draws(Purpose.DEAL, 2).random()


def test_the_seed_by_hand() -> None:
    """63 of the 64 bits of a digest of the JSON. Another one would be other noise for every run that is on record."""
    digest = hashlib.blake2b(b'["step noise", 3, 7, "a\\u00e9", 0]', digest_size=8).digest()
    expected = torch.Generator().manual_seed(int.from_bytes(digest, "big") // 2)
    assert torch.equal(
        torch.randn(5, generator=Noise(3, 7).generator(Purpose.STEP, "aé", 0)), torch.randn(5, generator=expected)
    )


def test_a_row_does_not_depend_on_the_others() -> None:
    noise, rows = Noise(1, 2), [(prompt, candidate) for prompt in range(2) for candidate in range(3)]
    whole = noise.normal(Purpose.FORWARD, rows, (2, 3), 0, 4)
    assert (whole.shape, whole.dtype, whole.device.type) == ((6, 2, 3), torch.float32, "cpu")
    for i, row in enumerate(rows):
        by_hand = torch.randn(2, 3, generator=generator(Purpose.FORWARD, 1, 2, *row, 0, 4))
        assert torch.equal(whole[i], by_hand)
    assert torch.equal(noise.normal(Purpose.FORWARD, [rows[5], rows[0]], (2, 3), 0, 4), whole[[5, 0]])
    assert noise.normal(Purpose.FORWARD, [], (2, 3)).shape == (0, 2, 3)
    for other in (Noise(2, 2), Noise(1, 3)):
        assert not torch.isclose(other.normal(Purpose.FORWARD, rows, (2, 3), 0, 4), whole).all(1).any()


def test_it_is_standard_normal_and_streams_are_uncorrelated() -> None:
    """Within 4 standard errors, over 400 neighbouring streams of 100 numbers."""
    drawn = Noise(0, 0).normal(Purpose.FIRST, [(row,) for row in range(400)], (100,))
    assert abs(float(drawn.mean())) < 4 / 200
    assert float(drawn.std()) == pytest.approx(1, abs=4 / 200 / 2**0.5)
    neighbours = (drawn[1:] * drawn[:-1]).mean()
    assert abs(float(neighbours)) < 4 / 200
    assert abs(float(drawn[:, 0].mean())) < 4 / 20


def test_no_default_dtype_changes_the_noise() -> None:
    expected = Noise(0, 0).normal(Purpose.FIRST, [(0,)], (4,))
    torch.set_default_dtype(torch.float64)
    try:
        found = Noise(0, 0).normal(Purpose.FIRST, [(0,)], (4,))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
