"""`python -m experiments.hacking.decompose runs/study/hacking/t2i_rpo/arm=own_weighted*`: where a run's reward and gold part.

On held-out pictures of each run, against the base's of the same prompt and noise: how often does the reward call a pair
otherwise than the annotator's exact worth does? Then one piece of the reward is put right, or exchanged, at a time (PLAN.md). A
tie where the other decides counts one half. Writes `decomposition.json` into the run's folder, and prints means over runs.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL.Image import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.commands.runs.finished import finished_run
from arr_rpo.evaluation.images import pictures, spread
from arr_rpo.judge.asked_once import AskedOnce
from arr_rpo.judge.base import Judge
from arr_rpo.report.statistics import t_interval
from arr_rpo.reward.protocols import PointProtocol, as_verdicts
from arr_rpo.run.layout import POLICY
from arr_rpo.shapes.annotators.people import Annotator, annotator
from arr_rpo.shapes.oracles.judge import TasteOracle
from arr_rpo.types import Outcome, Prompt, Rubric, UserError
from arr_rpo.whole_files import write_json
from experiments.hacking.told import criteria

FRESH_SEED, SAME = 1001, 1e-6  # of the pairs of a fresh rubric; utilities that are one
ROWS = {
    "reward": "the reward as it is, held-out prompts",
    "training prompts": "the same, training prompts of the same kinds",
    "exact answers": "its criteria, answered by the exact oracle (the verifier's errors are gone)",
    "true criteria": "the annotator's true criteria and weights, answered by the judge (nothing is missing)",
    "true criteria, exact answers": "the same, answered by the exact oracle (neither is wrong: what is left is ties)",
    "fresh rubric": "a rubric from other pairs by the same writer (what was learned of that one rubric is gone)",
    "exact namer": "a rubric from the same pairs, chosen and weighed by exact answers, answered by the judge (another writer)",
}


@dataclass(frozen=True)
class Shown:
    """One picture a prompt of the trained policy and of the base."""

    prompts: Sequence[Prompt]
    trained: Sequence[Image]
    base: Sequence[Image]

    @property
    def pairs(self) -> list[tuple[Image, Image]]:
        return list(zip(self.trained, self.base, strict=True))


def gold(who: Annotator, shown: Shown) -> list[Outcome]:
    """A where the trained policy's picture is worth more, B where the base's is."""
    gaps = [who.utility(p, a) - who.utility(p, b) for p, (a, b) in zip(shown.prompts, shown.pairs, strict=True)]
    return [Outcome.TIE if abs(gap) < SAME else Outcome.A if gap > 0 else Outcome.B for gap in gaps]


def gap(called: Sequence[Outcome], truth: Sequence[Outcome]) -> float:
    """Share of the pairs that are called otherwise; one that either calls equal and the other does not counts one half, and a
    failed verdict is left out."""
    known = [(a, b) for a, b in zip(called, truth, strict=True) if a is not Outcome.FAILED]
    if not known:
        raise UserError("no verdict was given: has the judge failed? See the log.")
    return sum(0.0 if a is b else 0.5 if Outcome.TIE in (a, b) else 1.0 for a, b in known) / len(known)


def told(who: Annotator, prompts: Sequence[Prompt]) -> list[Rubric | None]:
    return [Rubric(tuple(criteria(who, prompt)), {}) for prompt in prompts]


def source(trained: DictConfig, changes: Mapping[str, Any] | None = None) -> Any:
    """The run's source of rubrics, its preferences or itself otherwise in some keys."""
    node = OmegaConf.create(OmegaConf.to_container(trained.rubric))
    for key, value in (changes or {}).items():
        OmegaConf.update(node, key, value)
    return instantiate(node)


def gaps(
    judge: Judge, protocol: PointProtocol, who: Annotator, heldout: Shown, training: Shown, trained: DictConfig
) -> dict[str, float]:
    """By the keys of `ROWS`."""
    exact = TasteOracle()
    own, fresh = source(trained), source(trained, {"preferences.seed": FRESH_SEED})

    def of(shown: Shown, asked: Judge, rubrics: Callable[[Sequence[Prompt]], Sequence[Rubric | None]]) -> float:
        verdicts = as_verdicts(protocol, asked, shown.prompts, shown.pairs, rubrics(shown.prompts))
        return gap([verdict.outcome for verdict in verdicts], gold(who, shown))

    return {
        "reward": of(heldout, judge, lambda prompts: own.rubrics(prompts, judge)),
        "training prompts": of(training, judge, lambda prompts: own.rubrics(prompts, judge)),
        "exact answers": of(heldout, exact, lambda prompts: own.rubrics(prompts, judge)),
        "true criteria": of(heldout, judge, lambda prompts: told(who, prompts)),
        "true criteria, exact answers": of(heldout, exact, lambda prompts: told(who, prompts)),
        "fresh rubric": of(heldout, judge, lambda prompts: fresh.rubrics(prompts, judge)),
        "exact namer": of(heldout, judge, lambda prompts: source(trained).rubrics(prompts, exact)),
    }


def of_the_same_kinds(some: Sequence[Prompt], others: Sequence[Prompt]) -> list[Prompt]:
    """As many of each tag as the others have, at even distances, where there are as many."""
    wanted = Counter(prompt.metadata["tag"] for prompt in others)
    by_tag = {tag: [prompt for prompt in some if prompt.metadata["tag"] == tag] for tag in wanted}
    return [prompt for tag, count in wanted.items() for prompt in spread(by_tag[tag], count)]


def decomposed(run: Path, batch_size: int) -> dict[str, float]:
    """Of a finished run of the arm own_weighted.

    Raises:
        UserError: it is not one.
    """
    trained = finished_run(run)
    if "rubric" not in trained or OmegaConf.select(trained, "rubric.preferences.annotator") is None:
        raise UserError(f"{run} is no run whose rubric comes of an annotator's pairs: give those of the arm own_weighted")
    data, policy = instantiate(trained.data), instantiate(trained.policy)
    policy.load_trained(run / POLICY)
    seed = int(trained.callbacks.heldout.seed)

    def shown(prompts: Sequence[Prompt]) -> Shown:
        with policy.adapter.reference():
            base = pictures(policy, prompts, seed, batch_size)
        return Shown(prompts, pictures(policy, prompts, seed, batch_size), base)

    heldout = shown(list(data.heldout))
    training = shown(of_the_same_kinds(list(data.train), heldout.prompts))
    judge = AskedOnce(instantiate(trained.judge))
    who = annotator(trained.study.annotator)
    return gaps(judge, instantiate(trained.reward.protocol), who, heldout, training, trained)


def table(found: Sequence[Mapping[str, float]]) -> str:
    lines = [f"| {len(found)} runs | called otherwise than gold | minus the reward's | 95% interval |", "|---|---|---|---|"]
    for key, says in ROWS.items():
        values = [one[key] for one in found]
        differences = [one[key] - one["reward"] for one in found]
        mean = sum(differences) / len(differences)
        between = "-"
        if key != "reward" and len(differences) > 1:
            between = "{:+.3f} to {:+.3f}".format(*t_interval(differences, 0.95))
        lines.append(f"| {says} | {sum(values) / len(values):.3f} | {'-' if key == 'reward' else f'{mean:+.3f}'} | {between} |")
    return "\n".join(lines)


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for run in given.runs:
        place = run / "decomposition.json"
        if not place.is_file():
            write_json(place, decomposed(run, given.batch_size))
        found.append(json.loads(place.read_text(encoding="utf-8")))
        print(run.name, {key: round(value, 3) for key, value in found[-1].items()}, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
