"""The processes of one run: which of them this is, and what they tell each other.

Every process goes through the same code with a share of the work; what is small (rewards, figures, decisions) all of them have.
A run of one process is the case of one: each function then gives back what it was given, and torch.distributed is not touched.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from arr_rpo.types import UserError

T = TypeVar("T")


class OtherProcessError(UserError):
    """Something went wrong in another process, which says so itself; this one ends with it."""


def rank() -> int:
    """Number of this process in its run, from 0, which writes what the run writes. Known before the processes have met:
    torchrun, srun and Lightning's launcher tell it by the environment, where a RANK without torchrun is somebody else's."""
    if started_by() == "torchrun":
        return _told("RANK")
    return _slurm("SLURM_PROCID", _told("LOCAL_RANK"))


def announced() -> int:
    """Number of processes that torchrun or srun started; 1 where this one was started alone."""
    return {"torchrun": _told("WORLD_SIZE"), "srun": _told("SLURM_STEP_NUM_TASKS")}.get(started_by() or "", 1)


def world() -> int:
    """Number of processes that have met (torch.distributed is initialised), else 1."""
    dist = sys.modules.get("torch.distributed")  # not imported for this: a command that ends early would wait for it
    return int(dist.get_world_size()) if dist and dist.is_available() and dist.is_initialized() else 1


def local_rank() -> int:
    """Number of this process on its machine, which is that of its GPU."""
    return _told("LOCAL_RANK") if "LOCAL_RANK" in os.environ else _slurm("SLURM_LOCALID", 0)


def node() -> int:
    """The number of this machine among those of the run."""
    return _told("GROUP_RANK") if "GROUP_RANK" in os.environ else _slurm("SLURM_NODEID", 0)


def device(asked: str) -> str:
    """A device as torch names it; of `auto` this process's GPU, or the CPU where there is none."""
    import torch

    if asked != "auto":
        return asked
    return f"cuda:{gpu()}" if torch.cuda.is_available() else "cpu"


_gpus: list[int] = []


def use_gpus(devices: object, accelerator: object = "auto") -> None:
    """Told of `trainer.devices`: a list names the GPUs of a machine's processes; else they are numbered as these."""
    _gpus[:] = [int(one) for one in devices] if isinstance(devices, Sequence) and not isinstance(devices, str) else []
    if accelerator != "cpu":
        on_device(device("auto"))


def on_device(name: str) -> None:
    """Makes a GPU the one that libraries take where none is named: bitsandbytes quantises there, before anything is moved."""
    if name.startswith("cuda"):
        import torch

        torch.cuda.set_device(name if ":" in name else gpu())


def gpu() -> int:
    """Number of this process's GPU, of those that it sees: with Slurm's --gpus-per-task that is one."""
    import torch

    if local_rank() < len(_gpus):
        return _gpus[local_rank()]
    return local_rank() % max(1, torch.cuda.device_count())


def started_by() -> str | None:
    """Who started several processes of this program: "torchrun" or "srun"; None where it was started once."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun"
    return "srun" if _slurm("SLURM_STEP_NUM_TASKS", 1) > 1 else None


def _slurm(name: str, otherwise: int) -> int:
    """In a step of several tasks: a batch script, and a step of one task, are one process."""
    return _told(name) if _told("SLURM_STEP_NUM_TASKS") > 1 else otherwise


def _told(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else 0


# -- a share of the work ---------------------------------------------------------------------------------------------------


def share(count: int, of: int | None = None) -> slice:
    """Those of `count` things in a row that are the part of process `of` (None: of this one): neighbours, as many for each as
    can be, none where there are fewer things than processes."""
    number = rank() if of is None else of
    return slice(number * count // world(), (number + 1) * count // world())


# -- what they tell each other ---------------------------------------------------------------------------------------------


def gathered(value: T) -> list[T]:
    """What each process gave, in the order of the processes; pickled, so for what is small."""
    if world() == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def joined(values: Sequence[T]) -> list[T]:
    """One list of what each process has some of, in the order of the processes."""
    return [item for some in gathered(list(values)) for item in some]


def first(value: T) -> T:
    """What process 0 gave."""
    if world() == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def largest(number: int) -> int:
    """The largest of what each process gave."""
    if world() == 1:
        return number
    import torch
    import torch.distributed as dist

    tensor = torch.tensor(number)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def means(entries: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """The mean of each key over the entries of all processes that have it, each with its weight."""
    total: dict[str, list[float]] = {}
    for weight, values in joined(entries):
        for key, value in values.items():
            known = total.setdefault(key, [0.0, 0.0])
            known[0] += weight * value
            known[1] += weight
    return {key: value / weight for key, (value, weight) in total.items() if weight}


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Ends well in all processes or in none: where one raises, the others do as well, with its message.

    Nothing inside may wait for another process.

    Raises:
        OtherProcessError: in the processes where nothing went wrong.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised
    told = gathered(None if error is None else described(error))
    if error is not None:
        error.agreed = True  # type: ignore[attr-defined]
        raise error
    for number, message in enumerate(told):
        if message is not None:
            other = OtherProcessError(f"process {number} of {world()}: {message}")
            other.agreed = True  # type: ignore[attr-defined]
            raise other


def agreed(error: BaseException) -> bool:
    """Whether all processes raised at the same place, and so are in step."""
    return world() == 1 or getattr(error, "agreed", False)


def by_the_first(make: Callable[[], T]) -> T:
    """What process 0 makes, for all of them; what it raises, all of them raise."""
    if world() == 1:  # also in a process that has not met the others yet
        return make()
    made: list[T] = []
    with together(), _alone():
        if rank() == 0:
            made.append(make())
    return first(made[0] if made else None)  # type: ignore[return-value]


_waiting = False  # whether all processes but the first wait for it


def at_work() -> int:
    """Number of processes that are at work now: one in `by_the_first`, else all. By it they share what is bounded, such as the
    requests to a server."""
    return 1 if _waiting else world()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    global _waiting  # noqa: PLW0603
    _waiting = True
    try:
        yield
    finally:
        _waiting = False


def described(error: BaseException) -> str:
    """An error in one line."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
