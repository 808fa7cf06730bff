"""Starts a real vLLM that serves the embedded judge, from a virtual environment of its own.

Its pins clash with the project's, so it is no dependency: `$ARR_RPO_VLLM` names an environment that has it (by default
~/.cache/arr_rpo-vllm), and without one the tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arr_rpo.judge.local.loading import EMBEDDED
from tests.judge.server.serving.launch import ended, wait_for

VENV = Path(os.environ.get("ARR_RPO_VLLM", "~/.cache/arr_rpo-vllm")).expanduser()
PYTHON = VENV / "bin" / "python"
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@contextmanager
def vllm_on(port: int, log: Path) -> Iterator[str]:
    """The base URL of a vLLM for the time of the block. It loads the embedded judge's folder as it ships."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OMP", "MKL"))}
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(EMBEDDED["shapes"])]
    command += ["--served-model-name", "judge", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "1024"]
    with log.open("a") as file:
        process = subprocess.Popen(
            command,
            env={**environment, **QUIET, "VLLM_CPU_KVCACHE_SPACE": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log, seconds=240)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        ended(process, group=True)
