"""Starts `serve.py` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.judge.server.serving.wire import free_port


@contextmanager
def served(checkpoint: Path, folder: Path) -> Iterator[str]:
    """The base URL of a real OpenAI-compatible server of the model in `checkpoint`; `folder` gets its log."""
    (folder / "hub").mkdir(parents=True)  # /v1/models fails without a hub cache
    port = free_port()
    environment = {**os.environ, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(checkpoint), str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "server.log", seconds=120)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        ended(process, group=False)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: int) -> None:
    """Until a server is up.

    Raises:
        RuntimeError: it is not, with its log.
    """
    for _ in range(10 * seconds):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def ended(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Ends a server, with the processes that it has started where it leads a group."""

    def tell(what: int) -> None:
        if process.poll() is None:
            os.killpg(process.pid, what) if group else process.send_signal(what)

    tell(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        tell(signal.SIGKILL)
        process.wait()
