"""The simulation of several processes, against cases that are worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.scaling import flux, simulate, simulation


def job(**changes: Any) -> Any:
    """Eight candidates in pairs, two optimizer steps: 1 + 8 x 0.5 = 5 s of rollout, 2 x 8 = 16 s of judging, 2 x (1 + 8) = 18 s
    of update for one process."""
    line = simulation.Line
    plain = simulation.Job(
        candidates=8, group_size=2, steps=2, rollout=line(1.0, 0.5), judging=line(0.0, 2.0), step=line(1.0, 1.0)
    )
    return dataclasses.replace(plain, **changes)


def stages(update: Any) -> tuple[float, ...]:
    return update.rollout, update.rubrics, update.judging, update.update, update.waiting


def test_one_process_takes_the_sum_of_its_work_and_waits_for_nobody() -> None:
    first, second = simulation.simulated(job(exchange=0.5), 1, updates=2)
    assert stages(first) == stages(second) == (5.0, 0.0, 16.0, 19.0, 0.0)
    assert first.whole == 40.0


def test_two_processes_have_half_of_what_grows_and_all_of_what_does_not() -> None:
    [update] = simulation.simulated(job(exchange=0.5), 2)
    assert stages(update) == (1 + 4 * 0.5, 0.0, 4 * 2.0, 2 * (1 + 4 + 0.5), 0.0)


def test_whole_groups_are_shared_out_and_the_others_wait_for_the_larger_share() -> None:
    """Four groups on three processes: 1, 1, 2. Two wait while the third draws two candidates more (1 s), judges them (4 s), and
    in each step learns from them (2 s): 2/3 x (1 + 4 + 2 x 2)."""
    [update] = simulation.simulated(job(), 3)
    assert stages(update) == pytest.approx((3.0, 0.0, 8.0, 10.0, 2 / 3 * 9))


def test_shares_are_those_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from arr_rpo import ranks

    monkeypatch.setattr(ranks, "world", lambda: 5)
    for count in (5, 8, 64):
        real = [range(count)[ranks.share(count, process)] for process in range(5)]
        assert [simulation.share(count, process, 5) for process in range(5)] == real


def test_more_processes_than_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="4 groups for 5 processes"):
        simulation.simulated(job(), 5)


def test_rubrics_are_written_by_one_while_the_others_wait() -> None:
    """Five rubrics, two at once, 3 s: three rounds, 9 s, in which three of four processes wait."""
    [update] = simulation.simulated(job(rubrics=simulation.Rubrics(5, 2, 3.0)), 4)
    assert update.rubrics == 9.0
    assert update.waiting == pytest.approx(9.0 * 3 / 4)


@pytest.mark.parametrize(
    ("processes", "gpus", "concurrency", "seconds"),
    [
        (1, 1, 100, 8.0),  # 16 calls, two at once, 1 s: the server is full
        (1, 4, 100, 2.0),
        (1, 4, 1, 16.0),  # the run asks for one at a time, whoever could answer
        (2, 4, 4, 4.0),  # two of each process's eight at once
        (4, 1, 1, 8.0),  # one of each at least, which is more than the server has
    ],
)
def test_a_served_judge_is_as_fast_as_it_can_be_asked(processes: int, gpus: int, concurrency: int, seconds: float) -> None:
    server = simulation.Server(gpus=gpus, at_once=2, seconds=1.0, calls=2, concurrency=concurrency)
    [update] = simulation.simulated(job(server=server), processes)
    assert update.judging == seconds
    assert update.serving == 16 / 2  # GPU seconds: 16 calls, two at once


def test_all_wait_for_the_slowest_of_what_is_drawn() -> None:
    """Each piece of work takes once or three times its seconds: of 64 processes one is always slow, of one process half are."""
    spread = simulation.simulated(job(candidates=128, spread=(1.0, 3.0), steps=50), 64)[0]
    assert (spread.rollout, spread.judging, spread.update) == (3 * 2.0, 3 * 4.0, 3 * 50 * 3.0)
    alone = simulation.simulated(job(spread=(1.0, 3.0), steps=400), 1)[0]
    assert alone.update == pytest.approx(2 * 400 * 9.0, rel=0.1)


def test_a_minibatch_that_lies_in_one_process_keeps_the_others_waiting() -> None:
    """Four processes with a pair each, and minibatches of one candidate: eight minibatches of two steps, in each of which one
    process learns from a candidate (2 s) and three from none (1 s). All at once it is two steps of 1 + 2 s."""
    [alone] = simulation.simulated(job(minibatch=1), 4)
    assert alone.update == 8 * 2 * 2.0
    assert alone.waiting == pytest.approx(8 * 2 * 1.0 * 3 / 4)
    [together] = simulation.simulated(job(), 4)
    assert (together.update, together.waiting) == (2 * 3.0, 0.0)


def test_ties_leave_one_process_less_to_do_and_many_as_much_as_ever() -> None:
    """Half of the pairs have no gradient. One process has half to do, 2 x (1 + 64) s; of 64 with a pair each, one always has
    something. Where all tie there is no step."""
    updates = simulation.simulated(job(candidates=128, working=0.5), 1, updates=100)
    assert sum(u.update for u in updates) / 100 == pytest.approx(2 * 65.0, rel=0.05)
    assert [u.update for u in simulation.simulated(job(candidates=128, working=0.5), 64, 3)] == [2 * 3.0] * 3
    assert [u.update for u in simulation.simulated(job(working=0.0), 2)] == [0.0]


def test_a_line_through_what_one_process_measured(tmp_path: Path) -> None:
    """Of 8 candidates 5 s and of 4 candidates 3 s: 1 s, and 0.5 s each. The first update does not count."""
    for name, images, rollout in (("one_0", 8, 5.0), ("half_0", 4, 3.0)):
        rows = [
            {"judge/images": images, "judge/calls": 2 * images, "policy/optimizer_steps": 2, "reward/silent_groups": 0.0}
            | {"time/rollout": seconds, "time/judging": 2.0 * images, "time/update": 2.0 + 2 * images}
            for seconds in (99.0, rollout, rollout, rollout)
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fitted = simulate.fitted(tmp_path, exchange=0.5)
    assert set(fitted.spread) == {1.0}
    assert dataclasses.replace(fitted, spread=(1.0,)) == job(exchange=0.5)


def test_an_all_reduce_sends_twice_what_each_other_has() -> None:
    """Of four processes each sends 2 x 3/4 of 8 GB at 6 GB/s, in 2 x 3 messages of 0.1 s at the most."""
    assert flux.all_reduce(8e9, 4, 6e9, 0.1) == pytest.approx(2 + 0.6)
    assert flux.all_reduce(8e9, 1, 6e9, 0.1) == 0.0
    assert flux.all_gather(8e9, 4, 6e9) == 1.0
