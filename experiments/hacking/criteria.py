"""`python -m experiments.hacking.criteria runs/study/hacking/t2i_rpo/arm=own_weighted*`: is any criterion gamed?

On held-out pictures of each run, before and after training (one noise), each criterion of the run's own rubrics: how P(yes)
rose by the run's judge, and how often it came to hold by the exact oracle. A criterion is gamed where the first rises and the
second does not. Writes `criteria.json` into the run's folder, and prints means over runs, by what a criterion is about.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.commands.runs.finished import finished_run
from arr_rpo.evaluation.images import pictures
from arr_rpo.judge.base import Judge
from arr_rpo.report.statistics import t_interval
from arr_rpo.run.layout import POLICY
from arr_rpo.shapes.annotators.people import Annotator, annotator
from arr_rpo.shapes.oracles.judge import TasteOracle
from arr_rpo.shapes.world.asked import own
from arr_rpo.types import Prompt, Rubric, UserError
from arr_rpo.whole_files import write_json

KINDS = {
    "prompt": "what the prompt asks for",
    "liked": "tastes of the annotator that the prompt leaves open",
    "other": "other tastes, and what is asked of any picture",
}


@dataclass(frozen=True)
class Asked:
    """One criterion of one prompt: P(yes), and 0 or 1 by the oracle, of the base's picture and of the trained policy's."""

    question: str
    kind: str
    weight: float
    before: float
    after: float
    held_before: float
    held_after: float

    @property
    def gap(self) -> float:
        """How much more P(yes) rose than the truth."""
        return (self.after - self.before) - (self.held_after - self.held_before)


def kind_of(question: str, prompt: Prompt, who: Annotator) -> str:
    if question in {criterion.text for criterion in own(prompt.metadata)}:
        return "prompt"
    return "liked" if question in {taste.question for taste, _ in who.open_in(prompt.metadata)} else "other"


def asked(
    judge: Judge,
    who: Annotator,
    prompts: Sequence[Prompt],
    rubrics: Sequence[Rubric | None],
    base: Sequence[Image],
    trained: Sequence[Image],
) -> list[Asked]:
    """Of all criteria of weight above 0; what judge or oracle could not answer is left out."""
    rows = [(k, c) for k, rubric in enumerate(rubrics) if rubric for c in rubric.criteria if c.weight > 0]
    questions = [c.question for _, c in rows]

    def answers(of: Judge, images: Sequence[Image]) -> list[float | None]:
        said = of.check([prompts[k] for k, _ in rows], [images[k] for k, _ in rows], questions)
        return [answer.value for answer in said]

    columns = [answers(of, images) for of in (judge, TasteOracle()) for images in (base, trained)]
    found = []
    for (k, c), *values in zip(rows, *columns, strict=True):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found.append(Asked(c.question, kind_of(c.question, prompts[k], who), c.weight, *known))
    return found


def summed(rows: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """By kind, and by question below "questions": means over the prompts that were asked, each criterion with its weight."""
    groups: dict[str, list[Asked]] = defaultdict(list)
    for row in rows:
        groups[row.kind].append(row)
        groups[f"question: {row.question}"].append(row)
    return {name: _means(some) for name, some in groups.items()}


def _means(rows: Sequence[Asked]) -> dict[str, float]:
    whole = sum(row.weight for row in rows)

    def mean(values: Sequence[float]) -> float:
        return sum(row.weight * value for row, value in zip(rows, values, strict=True)) / whole

    rise, truth = mean([r.after - r.before for r in rows]), mean([r.held_after - r.held_before for r in rows])
    return {"asked": len(rows), "rise": rise, "truth": truth, "gap": mean([row.gap for row in rows])}


def of_run(run: Path, batch_size: int) -> dict[str, Any]:
    """Of a finished run with a rubric."""
    trained = finished_run(run)
    if not trained.get("rubric") or not trained.get("judge"):
        raise UserError(f"{run} has no rubric, or no judge that answers its criteria")
    data, policy, judge = instantiate(trained.data), instantiate(trained.policy), instantiate(trained.judge)
    policy.load_trained(run / POLICY)
    prompts, seed = list(data.heldout), int(trained.callbacks.heldout.seed)
    with policy.adapter.reference():
        base = pictures(policy, prompts, seed, batch_size)
    after = pictures(policy, prompts, seed, batch_size)
    rubrics = instantiate(trained.rubric).rubrics(prompts, judge)
    named = {"arm": str(trained.study.arm), "annotator": str(trained.study.annotator)}
    return {**named, "found": summed(asked(judge, annotator(trained.study.annotator), prompts, rubrics, base, after))}


def table(runs: Sequence[dict[str, Any]]) -> str:
    """A row an arm and kind: means over annotators, 95% intervals of the gap."""
    lines = ["| arm | criteria about | runs | P(yes) rose by | truth rose by | gap |", "|---|---|---|---|---|---|"]
    arms = dict.fromkeys(run["arm"] for run in runs)
    for arm in arms:
        for kind, words in KINDS.items():
            some = [run["found"][kind] for run in runs if run["arm"] == arm and kind in run["found"]]
            if not some:
                continue
            rise, truth, gaps = ([one[name] for one in some] for name in ("rise", "truth", "gap"))
            between = " ({:+.3f} to {:+.3f})".format(*t_interval(gaps, 0.95)) if len(gaps) > 1 else ""
            lines.append(
                f"| {arm} | {words} | {len(some)} | {fmean(rise):+.3f} | {fmean(truth):+.3f} | {fmean(gaps):+.3f}{between} |"
            )
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
        place = run / "criteria.json"
        if not place.is_file():
            write_json(place, of_run(run, given.batch_size))
            print(run.name, flush=True)
        found.append(json.loads(place.read_text(encoding="utf-8")))
    print(table(found))


if __name__ == "__main__":
    main()
