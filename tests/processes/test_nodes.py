"""Two machines: two network namespaces joined by a cable, with a torchrun in each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.starting import ENVIRONMENT, PYTHON, ROOT, children, numbers, said, small, state, trained, until, updates

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and `ip` for network namespaces"),
]
ADDRESSES = {"rpoa": "10.77.0.1", "rpob": "10.77.0.2"}


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in ADDRESSES:
            ip("netns", "add", name)
        ip("link", "add", "rpova", "netns", "rpoa", "type", "veth", "peer", "name", "rpovb", "netns", "rpob")
        for (name, address), device in zip(ADDRESSES.items(), ("rpova", "rpovb"), strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", device, "up")
        yield
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
    finally:
        for name in ADDRESSES:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def started(folder: Path, *overrides: str) -> list[subprocess.Popen[bytes]]:
    """One torchrun a machine, one rendezvous."""
    processes = []
    for number, (name, address) in enumerate(ADDRESSES.items()):
        (folder / name).mkdir(exist_ok=True)
        launch = ("--nnodes", "2", "--node-rank", str(number), "--nproc-per-node", "1", "--local-addr", address)
        meet = ("--master-addr", ADDRESSES["rpoa"], "--master-port", "29533")
        command = ["ip", "netns", "exec", name, PYTHON, "-m", "torch.distributed.run", *launch, *meet, "train.py", *overrides]
        with (folder / name / "log").open("ab") as log:
            environment = {**ENVIRONMENT, "GLOO_SOCKET_IFNAME": f"rpov{name[-1]}"}
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
    return processes


def test_one_that_is_killed_ends_both_and_the_run_goes_on(network: None, tmp_path: Path) -> None:
    run, how = tmp_path / "run", ("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2")
    processes = started(tmp_path, *small(tmp_path, 8), *how, f"run_dir={run}")
    until(lambda: updates(run) >= 2, 120, tmp_path / "rpoa")
    (worker,) = children(processes[1], ("train.py",))
    os.kill(worker, signal.SIGKILL)
    begun = time.monotonic()
    assert [process.wait(timeout=60) for process in processes] == [1, 1]
    assert time.monotonic() - begun < 60
    assert "another process of this run is gone" in said(tmp_path / "rpoa")
    assert state(run)["state"] == "failed"
    again = started(tmp_path, f"resume={run}")
    assert [process.wait(timeout=300) for process in again] == [0, 0], said(tmp_path / "rpoa")
    trained(tmp_path, PYTHON, "train.py", *small(tmp_path, 8), f"run_dir={tmp_path}/alone")
    assert numbers(run) == numbers(tmp_path / "alone")
