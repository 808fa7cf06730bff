"""What a simulation of several processes says, beside what was measured here, and of FLUX.1-dev on H100s.

python -m experiments.scaling.simulate here runs/scaling [--exchange 0.003]     # after measure.py; seconds by exchange.py
python -m experiments.scaling.simulate flux
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.scaling import flux
from experiments.scaling.measured import STAGES, Seconds, quartiles, read
from experiments.scaling.simulation import Job, Line, Server, Update, simulated

UPDATES = 200


def fitted(place: Path, exchange: float) -> Job:
    """The job that the runs `one` and `half` of measure.py come to: a line through the medians of each stage."""
    arms = [[s for run in sorted(place.glob(f"{arm}_*/")) for s in read(run)] for arm in ("one", "half")]
    one = arms[0]
    steps = one[0].optimizer_steps
    job = Job(
        candidates=one[0].images,
        group_size=2,
        steps=steps,
        rollout=_line([_medians(arm, "images", "rollout") for arm in arms]),
        judging=_line([_medians(arm, "images", "judging") for arm in arms]),
        step=_line([(working, seconds / steps) for working, seconds in (_medians(arm, "working", "update") for arm in arms)]),
        exchange=exchange,
        working=statistics.fmean(s.working / s.images for arm in arms for s in arm),
    )
    return replace(job, spread=_spread(job, one))


def _medians(updates: Sequence[Seconds] | Sequence[Update], *names: str) -> tuple[float, ...]:
    return tuple(statistics.median(getattr(update, name) for update in updates) for name in names)


def _line(points: Sequence[tuple[float, ...]]) -> Line:
    """Through two points; what would be less than nothing is nothing."""
    (many, high), (few, low) = points
    each = max(0.0, (high - low) / (many - few))
    return Line(max(0.0, low - few * each), each)


def _spread(job: Job, updates: Sequence[Seconds]) -> tuple[float, ...]:
    """Each stage's seconds, of what its line says."""
    said = [(job.rollout(s.images), job.judging(s.images), job.steps * job.step(s.working)) for s in updates]
    had = [(s.rollout, s.judging, s.update) for s in updates]
    return tuple(
        seconds / line for each, lines in zip(had, said, strict=True) for seconds, line in zip(each, lines, strict=True)
    )


def here(place: Path, exchange: float) -> None:
    job, [first, *_] = fitted(place, exchange), read(place / "one_0")
    call = job.judging.each * first.images / first.calls
    print(
        f"rollout {job.rollout}\njudging {job.judging}, a call {call:.4f} s\nstep {job.step}, of {job.working:.0%} of groups\n"
    )
    print(f"| simulated, s an update | {' | '.join((*STAGES, 'whole'))} | measured, whole | simulated / measured |")
    print("|---" * 7 + "|")
    for arm, what, processes in (("one", job, 1), ("half", replace(job, candidates=job.candidates // 2), 1), ("two", job, 2)):
        said = _medians(simulated(what, processes, UPDATES), *STAGES, "whole")
        _, measured, _ = quartiles([s.whole for run in sorted(place.glob(f"{arm}_*/")) for s in read(run)])
        print(f"| {arm} | {_cells(said)} | {measured:.2f} | {said[-1] / measured:.2f} |")
    for gpus in (1, 2):
        server = Server(gpus=gpus, at_once=1, seconds=call, calls=first.calls // first.images, concurrency=32)
        said = _medians(simulated(replace(job, server=server), 2, UPDATES), *STAGES, "whole")
        print(f"| two, and a server on {gpus} more core{'s' * (gpus > 1)} | {_cells(said)} | | |")


def _cells(said: Sequence[float]) -> str:
    return " | ".join(f"{seconds:.2f}" for seconds in said)


# -- FLUX.1-dev ------------------------------------------------------------------------------------------------------------


def arithmetic() -> None:
    print(
        f"share of the peak: {flux.in_batches():.1%} in batches of 8 (rollout), {flux.one_by_one():.1%} one by one (training)"
    )
    print(f"a verdict in one order: {flux.VERDICT / 1e12:.1f} TFLOP, {flux.verdict():.3f} s")
    print(f"a candidate: rollout {flux.rollout(8) / 8:.2f} s in eights, {flux.rollout(1):.2f} s alone; ", end="")
    print(f"each of {flux.STOCHASTIC_STEPS} steps of an update {flux.candidate_step():.2f} s")
    print(f"a candidate's pictures to a server, in two orders: {2 * flux.PICTURE / 1e6:.1f} MB at most; ", end="")
    print(f"of 1,024 candidates {1024 * 2 * flux.PICTURE / flux.ETHERNET:.2f} s at 100 Gbit/s\n")
    links = {"NVLink, one node of 8": (flux.NVLINK, 8), "8 x 400 Gbit/s, 64 GPUs": (flux.INFINIBAND, 64)}
    links |= {"8 x 400 Gbit/s, 512 GPUs": (flux.INFINIBAND, 512), "100 Gbit/s, 64 GPUs": (flux.ETHERNET, 64)}
    print("| link | LoRA gradients, an optimizer step | FSDP2: all weights, once | a candidate's training step with FSDP2 |")
    print("|---" * 4 + "|")
    for name, (link, count) in links.items():
        reduce, gather = flux.all_reduce(flux.LORA, count, link), flux.all_gather(flux.TRANSFORMER, count, link)
        step = max(flux.candidate_step(), 3 * gather)
        print(f"| {name} | {reduce * 1e3:.1f} ms | {gather * 1e3:.0f} ms | {step:.2f} s |")


def by_gpus() -> None:
    for title, candidates in (("128 candidates in all", lambda n: 128), ("16 candidates a GPU", lambda n: 16 * n)):
        print(f"\n| {title}: GPUs | candidates | rollout | judging | update | whole, s | waiting | images a GPU and s |")
        print("|---" * 8 + "|")
        for gpus in (1, 8, 64, 512):
            if candidates(gpus) < 2 * gpus:
                print(f"| {gpus} | {candidates(gpus)} | refused: fewer groups than processes | | | | | |")
                continue
            job = flux.job(candidates(gpus), gpus, link=flux.NVLINK if gpus <= 8 else flux.INFINIBAND)
            [u] = simulated(job, gpus)
            rate = job.candidates / gpus / u.whole
            print(f"| {gpus} | {job.candidates} | {u.rollout:.1f} | {u.judging:.1f} | {u.update:.1f} ", end="")
            print(f"| {u.whole:.1f} | {u.waiting / u.whole:.0%} | {rate:.3f} |")


def by_judges() -> None:
    print("\n| 64 policy GPUs, 1,024 candidates: judge GPUs | concurrency | judging, s | of the update | judges at work |")
    print("|---" * 5 + "|")
    plain = flux.job(1024, 64, link=flux.INFINIBAND)
    [own] = simulated(plain, 64)
    print(f"| each its own | | {own.judging:.1f} | {own.judging / own.whole:.0%} | |")
    for gpus in (1, 2, 4, 8, 16):
        for concurrency in (flux.CONCURRENCY, flux.SERVER_BATCH * gpus * 2):
            [u] = simulated(replace(plain, server=flux.served(gpus, concurrency)), 64)
            busy = u.serving / gpus / u.whole
            print(f"| {gpus} | {concurrency} | {u.judging:.1f} | {u.judging / u.whole:.0%} | {busy:.0%} |")


def by_rubrics() -> None:
    print("\n| GPUs, 8 new prompts each | rubrics by process 0's judge, s | by a server (concurrency 32), s | the rest, s |")
    print("|---" * 4 + "|")
    for gpus in (1, 8, 64, 512):
        plain = flux.job(16 * gpus, gpus, link=flux.NVLINK if gpus <= 8 else flux.INFINIBAND)
        ways = (flux.rubrics(8 * gpus), flux.rubrics_served(8 * gpus))
        local, server = (simulated(replace(plain, rubrics=way), gpus)[0] for way in ways)
        print(f"| {gpus} | {local.rubrics:.0f} | {server.rubrics:.0f} | {local.whole - local.rubrics:.0f} |")


def by_minibatch() -> None:
    print("\n| 64 GPUs, 1,024 candidates | optimizer steps | update, s | waiting | images a GPU and s |")
    print("|---" * 5 + "|")
    plain = flux.job(1024, 64, link=flux.INFINIBAND)
    without_kl = replace(plain, step=Line(0.0, flux.TRAINING_STEP))  # no reference, and what ties has no gradient
    ways = [(f"minibatches of {size}", replace(plain, minibatch=size)) for size in (1024, 512, 128)]
    ways += [(f"no KL, {ties:.0%} of the pairs tie", replace(without_kl, working=1 - ties)) for ties in (0.0, 0.5)]
    for title, job in ways:
        [u] = simulated(job, 64)
        steps, rate = job.candidates // (job.minibatch or job.candidates) * job.steps, job.candidates / 64 / u.whole
        print(f"| {title} | {steps} | {u.update:.1f} | {u.waiting / u.whole:.0%} | {rate:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    measured = what.add_parser("here")
    measured.add_argument("place", type=Path)
    measured.add_argument("--exchange", type=float, default=0.0, help="seconds of an all-reduce (exchange.py)")
    what.add_parser("flux")
    asked = parser.parse_args()
    if asked.what == "here":
        here(asked.place, asked.exchange)
    else:
        for tables in (arithmetic, by_gpus, by_judges, by_minibatch, by_rubrics):
            tables()


if __name__ == "__main__":
    main()
