"""`python -m experiments.hacking.decompose runs/study/hacking/t2i_rpo/arm=own_weighted*`: where a run's reward and gold part.

On held-out pictures of each run, against the base's of the same prompt and noise: how often does the reward call a pair
otherwise than the annotator's exact worth does? Then one piece of the reward is put right, or exchanged, at a time (PLAN.md). A
tie where the other decides counts one half.

Of all pairs, as was planned, and of those that the annotator decides (an amendment): a reward of P(yes) is never exactly equal
for two pictures, so that of all pairs each one that the annotator calls equal counts one half against it whatever it says, and
nothing where exact answers tie. Writes `decomposition.csv` into the run's folder, and prints means over runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.evaluation.images import spread
from arr_rpo.judge.asked_once import AskedOnce
from arr_rpo.judge.base import Judge
from arr_rpo.reward.protocols import PointProtocol, as_verdicts
from arr_rpo.shapes.annotators.people import Annotator
from arr_rpo.shapes.oracles.judge import TasteOracle
from arr_rpo.types import Outcome, Prompt, Rubric, UserError
from experiments.hacking.courses import SAME
from experiments.hacking.finished import Finished, Shown, look
from experiments.hacking.told import criteria
from experiments.markdown import said, table

FRESH_SEED = 1001  # of the pairs of a fresh rubric
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
class Part:
    """How often a run's pairs are called otherwise than gold calls them, with one piece of the reward exchanged (a key of
    ROWS): share of all; wrong of those that gold decides, which are `decided` of all."""

    annotator: str
    piece: str
    share: float
    decided: float
    wrong: float

    @property
    def key(self) -> Hashable:
        return self.annotator, self.piece


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


def part(annotator: str, piece: str, called: Sequence[Outcome], truth: Sequence[Outcome]) -> Part:
    decides = [(a, b) for a, b in zip(called, truth, strict=True) if b is not Outcome.TIE]
    wrong = gap([a for a, _ in decides], [b for _, b in decides])
    return Part(annotator, piece, gap(called, truth), len(decides) / len(truth), wrong)


def told(who: Annotator, prompts: Sequence[Prompt]) -> list[Rubric | None]:
    return [Rubric(tuple(criteria(who, prompt)), {}) for prompt in prompts]


def source(trained: DictConfig, changes: Mapping[str, Any] | None = None) -> Any:
    """The run's source of rubrics, its preferences or itself otherwise in some keys."""
    node = OmegaConf.create(OmegaConf.to_container(trained.rubric))
    for key, value in (changes or {}).items():
        OmegaConf.update(node, key, value)
    return instantiate(node)


def parts(
    judge: Judge, protocol: PointProtocol, who: Annotator, heldout: Shown, training: Shown, trained: DictConfig
) -> list[Part]:
    exact = TasteOracle()
    own, fresh = source(trained), source(trained, {"preferences.seed": FRESH_SEED})

    def of(piece: str, shown: Shown, asked: Judge, rubrics: Callable[[Sequence[Prompt]], Sequence[Rubric | None]]) -> Part:
        verdicts = as_verdicts(protocol, asked, shown.prompts, shown.pairs, rubrics(shown.prompts))
        return part(who.name, piece, [verdict.outcome for verdict in verdicts], gold(who, shown))

    return [
        of("reward", heldout, judge, lambda prompts: own.rubrics(prompts, judge)),
        of("training prompts", training, judge, lambda prompts: own.rubrics(prompts, judge)),
        of("exact answers", heldout, exact, lambda prompts: own.rubrics(prompts, judge)),
        of("true criteria", heldout, judge, lambda prompts: told(who, prompts)),
        of("true criteria, exact answers", heldout, exact, lambda prompts: told(who, prompts)),
        of("fresh rubric", heldout, judge, lambda prompts: fresh.rubrics(prompts, judge)),
        of("exact namer", heldout, judge, lambda prompts: source(trained).rubrics(prompts, exact)),
    ]


def of_the_same_kinds(some: Sequence[Prompt], others: Sequence[Prompt]) -> list[Prompt]:
    """As many of each tag as the others have, at even distances, where there are as many."""
    wanted = Counter(prompt.metadata["tag"] for prompt in others)
    by_tag = {tag: [prompt for prompt in some if prompt.metadata["tag"] == tag] for tag in wanted}
    return [prompt for tag, count in wanted.items() for prompt in spread(by_tag[tag], count)]


def decomposed(run: Path) -> list[Part]:
    """Of a finished run of the arm own_weighted.

    Raises:
        UserError: it is not one.
    """
    trained = Finished(run)
    config = trained.config
    if "rubric" not in config or OmegaConf.select(config, "rubric.preferences.annotator") is None:
        raise UserError(f"{run} is no run whose rubric comes of an annotator's pairs: give those of the arm own_weighted")
    heldout = trained.shown(trained.heldout)
    training = trained.shown(of_the_same_kinds(trained.training, trained.heldout))
    judge, protocol = AskedOnce(instantiate(config.judge)), instantiate(config.reward.protocol)
    return parts(judge, protocol, trained.who, heldout, training, config)


def tables(some: Sequence[Part]) -> str:
    runs: dict[str, dict[str, Part]] = {}
    for one in some:
        runs.setdefault(one.annotator, {})[one.piece] = one
    rows = []
    for piece, says in ROWS.items():
        cells: list[str] = []
        for name in ("wrong", "share"):
            differences = [getattr(found[piece], name) - getattr(found["reward"], name) for found in runs.values()]
            mean = fmean(getattr(found[piece], name) for found in runs.values())
            cells += [f"{mean:.3f}", "-" if piece == "reward" else said(differences)]
        rows.append((says, *cells))
    decided = fmean(found["reward"].decided for found in runs.values())
    heads = ["of the pairs that the annotator decides", "minus the reward's", "of all, as planned", "minus the reward's"]
    return (
        f"{table([f'{len(runs)} runs: called otherwise', *heads], rows)}\n\nThe annotator decides {decided:.3f} of the pairs."
    )


@plain_errors
def main() -> None:
    look(__doc__, "decomposition.csv", Part, decomposed, tables)


if __name__ == "__main__":
    main()
