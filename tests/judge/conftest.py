"""The real server, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arr_rpo.judge.local.loading import EMBEDDED
from tests.judge.server.serving.launch import served


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` of the embedded judge."""
    with served(EMBEDDED["shapes"], tmp_path_factory.mktemp("serve")) as base_url:
        yield base_url
