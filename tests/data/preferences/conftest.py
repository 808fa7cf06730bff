"""A folder with three pictures, which the rows of the tests name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.preferences.files import BLUE, GREEN, RED, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, color in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        save(tmp_path / "images" / f"{name}.png", color)
    return tmp_path
