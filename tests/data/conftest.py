"""A folder with two pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.data.made import BLUE, RED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 30), RED).save(tmp_path / "red.png")
    Image.new("RGB", (20, 20), BLUE).save(tmp_path / "blue.png")
    return tmp_path
