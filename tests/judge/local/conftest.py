"""The folders of the models that judges are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from arr_rpo.judge.local.loading import EMBEDDED
from tests.judge.local.twins import TWINS


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of the twins; `shapes` is the embedded judge."""
    made = {name: tmp_path_factory.mktemp(name) for name in TWINS}
    for name, folder in made.items():
        TWINS[name](folder)
    return {**made, "shapes": EMBEDDED["shapes"]}
