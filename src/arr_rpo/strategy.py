"""Several processes as Lightning starts them, each with the whole of the training's code and a share of its work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch.utils._pytree import tree_map_only

from arr_rpo import ranks
from arr_rpo.policy.sharding import like, saved
from arr_rpo.run.watch import Watch

CONFIG = "ARR_RPO_CONFIG"  # names the file with the config that a run's further processes train
WATCH = "ARR_RPO_WATCH"  # host:port of process 0's watch
NETWORK = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL", "Broken pipe")
ADDRESSES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", WATCH)


class Processes(DDPStrategy):
    """Lightning's processes and their group, without its wrapper around the model: the module shares out the work, and adds up
    the gradients of an optimizer step in one call, where the wrapper would do so in each of its backward passes.

    Args:
        shards: whether the frozen weights of the policy (in full training all of them) lie in shards on all processes (FSDP2)
            or each process has all of them.
        timeout_minutes: that a process waits in a collective call for others that live (`run.watch` sees to those that do not).
    """

    def __init__(self, *, shards: bool, timeout_minutes: float) -> None:
        super().__init__(timeout=timedelta(minutes=timeout_minutes))
        self.shards = shards
        self.watch: Watch | None = None
        self.ending: Callable[[str], None] = lambda why: None  # told before the process ends at once

    def _get_process_group_backend(self) -> str:
        return backend(self.root_device.type)

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def setup_environment(self) -> None:
        """Meets the others."""
        if WATCH in os.environ and ranks.rank():
            host, port = os.environ[WATCH].rsplit(":", 1)
            self.watch = Watch.reaching(host, int(port), ranks.rank(), int(os.environ["WORLD_SIZE"]))
        elif isinstance(self._launcher, Launcher) and self._launcher.watch is not None:
            self.watch = self._launcher.watch
        super().setup_environment()
        if self.watch is None and ranks.world() > 1:  # started by torchrun or srun
            host = os.environ["MASTER_ADDR"]
            if ranks.rank() == 0:
                self.watch = Watch.hosted(host, ranks.world())
            there = ranks.first(self.watch.port if self.watch else 0)
            self.watch = self.watch or Watch.reaching(host, there, ranks.rank(), ranks.world())
        if self.watch is not None:
            self.watch.ending = self.ending
            if not self.watch.is_alive():
                self.watch.start()

    def configure_ddp(self) -> None:
        """No wrapper."""

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Whole, whatever is sharded, so that a checkpoint is the same under any strategy."""
        state: dict[str, Any] = tree_map_only(torch.Tensor, saved, super().optimizer_state(optimizer))
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Cut into shards before it goes to the device."""
        for optimizer, states in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for number, state in states["state"].items():
                p = parameters[int(number)]
                state.update({key: like(value, p) for key, value in state.items() if getattr(value, "shape", None) == p.shape})
        super().load_optimizer_state_dict(checkpoint)

    def on_exception(self, exception: BaseException) -> None:
        """Tells the others, unless they know or it only says that they are gone."""
        known = isinstance(exception, ranks.OtherProcessError | SystemExit | KeyboardInterrupt) or of_the_network(exception)
        if self.watch is not None and not known:
            self.watch.tell(ranks.described(exception))
            exception.told = True  # type: ignore[attr-defined]

    def why(self, error: RuntimeError) -> str | None:
        """What an error of the network comes from: the end of another process, or the network; None of an error of another
        kind."""
        if not of_the_network(error) or self.watch is None:
            return None
        if (why := self.watch.why()) is not None:
            return why
        said = f"another process of this run is gone, or cannot be reached ({(str(error).splitlines() or [''])[0]})"
        self.watch.tell(said)
        return said

    def parted(self) -> None:
        """The run is over. Processes that this one started are waited for, and their group ends, so that another run may
        follow."""
        if self.watch is not None:
            self.watch.over()
        if isinstance(self._launcher, Launcher) and not ranks.started_by():
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            self._launcher.wait()


def of_the_network(error: BaseException) -> bool:
    """Whether an error only says that another process cannot be reached."""
    known = isinstance(error, torch.distributed.DistError)
    return known or (isinstance(error, RuntimeError) and any(word in str(error) for word in NETWORK))


class Launcher(_SubprocessScriptLauncher):
    """Starts the processes of one machine. They are handed the config, and do not compose it again: of a sweep each would
    otherwise go through all runs. Where torchrun or srun started them, there is nothing to start."""

    watch: Watch | None = None

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if environment.creates_processes_externally:
            return function(*args, **kwargs)
        before = {name: os.environ.get(name) for name in ADDRESSES}
        try:
            self._start()
            return function(*args, **kwargs)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def _start(self) -> None:
        host, world = self.cluster_environment.main_address, self.num_processes
        self.procs: list[subprocess.Popen[bytes]] = []
        self.watch = Watch.hosted(host, world, self.procs)
        os.environ |= {
            "MASTER_ADDR": host,
            "MASTER_PORT": str(self.cluster_environment.main_port),
            "NODE_RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(world),
            WATCH: f"{host}:{self.watch.port}",
        }
        self.watch.start()
        for number in range(1, world):
            command = [sys.executable, "-m", "arr_rpo.commands.runs.follow"]
            self.procs.append(subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(number)}))

    def wait(self) -> None:
        """Until the processes have ended; those that do not are ended."""
        for process in self.procs:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def backend(device: str) -> str:
    """Tensors on a GPU by NCCL; small objects and what is on a CPU by gloo."""
    return "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
