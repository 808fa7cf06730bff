"""An update of several processes as discrete events: who works, who waits for whom, and for how long.

It follows `module.learn` and `callbacks/rubric_reward.py`: each process draws candidates for its share of the prompts; all
meet; process 0 writes the rubrics that are missing while the others wait; each process has its own candidates judged, on its
own GPU or by a server that all of them ask; all meet; then optimizer steps on minibatches of all candidates, of which each
process learns from those that are its own, and after each of which gradients are added up.

A judge on a server is in truth asked while pictures are drawn (`callbacks/judging_ahead.py`); here it is asked after, so that
its seconds are an upper bound.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

Events = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Line:
    """Seconds that grow with the work: `fixed`, and `each` times a number of candidates."""

    fixed: float
    each: float

    def __call__(self, count: float) -> float:
        return self.fixed + self.each * count


@dataclass(frozen=True)
class Rubrics:
    """Those that an update has to write: `at_once` of them in `seconds`, by process 0 alone."""

    missing: int
    at_once: int
    seconds: float


@dataclass(frozen=True)
class Server:
    """A judge behind one address. Each of its `gpus` has `at_once` calls under way, each of which takes `seconds`; a candidate
    takes `calls`. concurrency: calls that the run has under way at most (`judge.model.concurrency`), shared out evenly among
    its processes, at least one each."""

    gpus: int
    at_once: int
    seconds: float
    calls: int
    concurrency: int


@dataclass(frozen=True)
class Job:
    """What one update does, and what that takes on one GPU.

    candidates: of all processes together, `group_size` of a prompt, which stay together. minibatch: candidates of all processes
    in one of `steps` optimizer steps; None: all. working: share of the groups that have a gradient, where those that tie have
    none. rollout, judging: of a process's candidates; judging by a judge of its own, where no server is asked. step: of its
    working candidates of a minibatch, without `exchange`, the seconds in which gradients are added up. spread: what takes a
    second takes one of these, drawn anew for each piece of work.
    """

    candidates: int
    group_size: int
    steps: int
    rollout: Line
    judging: Line
    step: Line
    exchange: float = 0.0
    minibatch: int | None = None
    working: float = 1.0
    rubrics: Rubrics | None = None
    server: Server | None = None
    spread: tuple[float, ...] = (1.0,)


@dataclass
class Update:
    """Seconds of one update by stage, as process 0 sees them; waiting: the mean of what each process spends in waiting for the
    others, at rubrics too; serving: of the server's GPUs, the seconds in which they work, added up."""

    rollout: float = 0.0
    rubrics: float = 0.0
    judging: float = 0.0
    update: float = 0.0
    waiting: float = 0.0
    serving: float = 0.0

    @property
    def whole(self) -> float:
        return self.rollout + self.rubrics + self.judging + self.update


@dataclass
class Meeting:
    """Where processes wait until all are there."""

    env: simpy.Environment
    expected: int
    _there: int = 0
    _all: simpy.Event = field(init=False)

    def __post_init__(self) -> None:
        self._all = self.env.event()

    def join(self) -> simpy.Event:
        """Happens when the last one has come."""
        self._there, meeting = self._there + 1, self._all
        if self._there == self.expected:
            self._there, self._all = 0, self.env.event()
            meeting.succeed()
        return meeting


def share(count: int, process: int, processes: int) -> range:
    """Which of `count` groups are a process's own: as `ranks.share`."""
    return range(process * count // processes, (process + 1) * count // processes)


def simulated(job: Job, processes: int, updates: int = 1, seed: int = 0) -> list[Update]:
    """What each update takes.

    Raises:
        ValueError: there are fewer groups than processes, which a run refuses.
    """
    groups = job.candidates // job.group_size
    if groups < processes:
        raise ValueError(f"{groups} groups for {processes} processes")
    env, chance = simpy.Environment(), random.Random(seed)
    shares = [share(groups, process, processes) for process in range(processes)]
    found, loads = [Update() for _ in range(updates)], [_loads(job, shares, chance) for _ in range(updates)]
    world = _World(env, job, processes, lambda seconds: seconds * chance.choice(job.spread))
    for number, groups_of in enumerate(shares):
        env.process(world.process(number, len(groups_of) * job.group_size, found, [load[number] for load in loads]))
    env.run()
    return found


def _loads(job: Job, shares: Sequence[range], chance: random.Random) -> list[list[int]]:
    """Of an update, how many candidates each process learns from in each minibatch; none of minibatches without gradient."""
    works = [chance.random() < job.working for _ in range(job.candidates // job.group_size)]
    owner = {group: process for process, groups in enumerate(shares) for group in groups}
    order = chance.sample(range(job.candidates), job.candidates)
    loads: list[list[int]] = [[] for _ in shares]
    size = job.minibatch or job.candidates
    for minibatch in (order[first : first + size] for first in range(0, len(order), size)):
        own = [owner[row // job.group_size] for row in minibatch if works[row // job.group_size]]
        for process, load in enumerate(loads if own else ()):
            load.append(own.count(process))
    return loads


class _World:
    def __init__(self, env: simpy.Environment, job: Job, processes: int, taken: Callable[[float], float]) -> None:
        self.env, self.job, self.processes, self.taken = env, job, processes, taken
        self.meeting = Meeting(env, processes)
        server = job.server
        self.slots = simpy.Resource(env, server.gpus * server.at_once) if server else None

    def process(self, number: int, candidates: int, found: Sequence[Update], loads: Sequence[Sequence[int]]) -> Events:
        """One process's updates."""
        job, env = self.job, self.env
        for update, load in zip(found, loads, strict=True):
            times = [env.now]
            yield env.timeout(self.taken(job.rollout(candidates)))
            yield from self.meet(update)
            times.append(env.now)
            if number == 0 and job.rubrics:
                for _ in range(-(-job.rubrics.missing // job.rubrics.at_once)):
                    yield env.timeout(self.taken(job.rubrics.seconds))
            yield from self.meet(update)
            times.append(env.now)
            if job.server:
                yield from self.ask(job.server, candidates * job.server.calls, update)
            else:
                yield env.timeout(self.taken(job.judging(candidates)))
            yield from self.meet(update)
            times.append(env.now)
            for own in load:
                for _ in range(job.steps):
                    yield env.timeout(self.taken(job.step(own)))
                    yield from self.meet(update)
                    yield env.timeout(job.exchange)
            times.append(env.now)
            if number == 0:
                stages = (after - before for before, after in itertools.pairwise(times))
                update.rollout, update.rubrics, update.judging, update.update = stages

    def meet(self, update: Update) -> Events:
        come = self.env.now
        yield self.meeting.join()
        update.waiting += (self.env.now - come) / self.processes

    def ask(self, server: Server, calls: int, update: Update) -> Events:
        """All of a process's calls, some of them under way at once."""
        free = simpy.Resource(self.env, max(1, server.concurrency // self.processes))
        yield self.env.all_of([self.env.process(self.call(server, free, update)) for _ in range(calls)])

    def call(self, server: Server, free: simpy.Resource, update: Update) -> Events:
        assert self.slots is not None
        with free.request() as may:
            yield may
            with self.slots.request() as slot:
                yield slot
                seconds = self.taken(server.seconds)
                yield self.env.timeout(seconds)
                update.serving += seconds / server.at_once
