"""FLUX.1-dev, learning from Qwen3-VL-8B on H100s: what each piece of work takes, from operations, bytes, two measured rates.

Job: `experiment=t2i_rpo_paper` (512 x 512, 8 steps, LoRA of rank 16, a KL penalty, gradient checkpointing, one candidate a
pass). All assumptions stand here, each with where it comes from; change one and run `simulate.py flux` again.
"""

from __future__ import annotations

from experiments.scaling.simulation import Job, Line, Rubrics, Server

PEAK = 989e12  # operations a second of an H100 SXM, dense bfloat16 (data sheet)
# experiments/gpu: a rollout of 8 in 4.74 s (H200), a checkpointed training step of one candidate in 0.54 s (H100).
ROLLOUT_OF_8, TRAINING_STEP = 4.74, 0.54
FORWARD, TRAINING = 21.59e12, 66.38e12  # operations of one candidate's pass and training step (flops.py)
STEPS, STOCHASTIC_STEPS = 8, 7  # of sampling; those that are learned from
BATCH = 8  # candidates in one call of the pipeline

LORA = 44.8e6 * 4  # bytes of the gradients, float32 (arr-rpo plan)
TRANSFORMER = 11.9e9 * 2  # bytes of the frozen weights, bfloat16
PICTURE = 512 * 512 * 3 * 4 / 3  # bytes of a picture to a server, at most: a PNG that saves nothing, in base64
NVLINK, INFINIBAND, ETHERNET = 450e9, 8 * 50e9, 12.5e9  # bytes a second into a GPU; into a node by 8 x 400, by 1 x 100 Gbit/s
LATENCY = 10e-6  # seconds of a message between two GPUs

# Qwen3-VL-8B: 36 layers of 4096 (8 key-value heads of 128, feed-forward 12288), a tower of 27 layers of 1152 (4304).
LANGUAGE = 36 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 12288)  # weights that each token meets
TOWER = 27 * (4 * 1152**2 + 2 * 1152 * 4304)  # weights that each patch meets
PATCHES, TOKENS = (512 // 16) ** 2, (512 // 32) ** 2  # of a picture
TEXT = 400  # tokens of prompt, rubric and wording (assumed)
VERDICT = 2 * LANGUAGE * (2 * TOKENS + TEXT) + 2 * 2 * TOWER * PATCHES  # operations of a pair in one order
RUBRIC_TOKENS, TOKEN_LOCAL, TOKEN_SERVED = 200, 0.030, 0.010  # length of a rubric; seconds of one more token (assumed)
LOCAL_BATCH, SERVER_BATCH, CONCURRENCY = 16, 32, 32  # judge.model.batch_size; assumed of vLLM; judge.model.concurrency

SPREAD = (0.97, 1.0, 1.03)  # assumed: no two GPUs are equally fast


def in_batches() -> float:
    """Share of the peak that was measured in batches: the forward passes of a rollout of 8."""
    return BATCH * STEPS * FORWARD / ROLLOUT_OF_8 / PEAK


def one_by_one() -> float:
    """Share of the peak that was measured with one candidate a pass: a training step."""
    return TRAINING / TRAINING_STEP / PEAK


def rollout(candidates: int) -> float:
    """Seconds of a process's candidates: a pass takes a fixed time and more a candidate, through the two rates."""
    alone, eight = FORWARD / (one_by_one() * PEAK), ROLLOUT_OF_8 / STEPS
    each = (eight - alone) / (BATCH - 1)
    calls = [min(BATCH, candidates - first) for first in range(0, candidates, BATCH)]
    return sum(STEPS * (alone + (n - 1) * each) for n in calls)


def verdict() -> float:
    """Seconds of a verdict in one order, of which a candidate takes one, in batches."""
    return VERDICT / (in_batches() * PEAK)


def candidate_step() -> float:
    """Seconds of one candidate in one optimizer step: training, and the reference's forward pass for the KL."""
    return TRAINING_STEP + FORWARD / (one_by_one() * PEAK)


def all_reduce(size: float, processes: int, bandwidth: float, latency: float = LATENCY) -> float:
    """Seconds in which a ring adds up `size` bytes of each process: twice through all others."""
    return 2 * (processes - 1) / processes * size / bandwidth + 2 * (processes - 1) * latency


def all_gather(size: float, processes: int, bandwidth: float) -> float:
    """Seconds until each process has all of `size` bytes that lie in shards."""
    return (processes - 1) / processes * size / bandwidth


def job(candidates: int, processes: int, *, link: float, sharded: bool = False) -> Job:
    """Of an update on so many GPUs, each with a judge of its own, and with all rubrics written before.

    sharded: FSDP2, which puts blocks together while the one before computes, so that the longer of both counts: once in each
    pass of a rollout, three times for a candidate's training step (forward, backward, reference).
    """
    own = candidates // processes
    gather = all_gather(TRANSFORMER, processes, link) if sharded else 0.0
    drawing = max(rollout(own), -(-own // BATCH) * STEPS * gather)
    return Job(
        candidates=candidates,
        group_size=2,
        steps=STOCHASTIC_STEPS,
        rollout=Line(0.0, drawing / own),
        judging=Line(0.0, verdict()),
        step=Line(0.0, max(candidate_step(), 3 * gather)),
        exchange=all_reduce(LORA, processes, link),
        spread=SPREAD,
    )


def served(gpus: int, concurrency: int) -> Server:
    return Server(gpus=gpus, at_once=SERVER_BATCH, seconds=SERVER_BATCH * verdict(), calls=1, concurrency=concurrency)


def rubrics(prompts: int) -> Rubrics:
    """All of them new, written by process 0's own judge."""
    return Rubrics(missing=prompts, at_once=LOCAL_BATCH, seconds=RUBRIC_TOKENS * TOKEN_LOCAL)


def rubrics_served(prompts: int) -> Rubrics:
    """The same by a server, which process 0 asks as much at once as the run may."""
    return Rubrics(missing=prompts, at_once=CONCURRENCY, seconds=RUBRIC_TOKENS * TOKEN_SERVED)
