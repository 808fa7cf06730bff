"""`python -m experiments.hacking.criteria runs/study/hacking/t2i_rpo/arm=own_weighted*`: is any criterion gamed?

On held-out pictures of each run, before and after training (one noise), each criterion of the run's own rubrics: how P(yes)
rose by the run's judge, and how often it came to hold by the exact oracle. A criterion is gamed where the first rises and the
second does not. Writes `criteria.csv` into the run's folder, and prints means over runs, by what a criterion is about, and the
criteria whose P(yes) rose most beyond the truth.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL.Image import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.judge.base import Judge
from arr_rpo.shapes.annotators.people import Annotator
from arr_rpo.shapes.oracles.judge import TasteOracle
from arr_rpo.shapes.world.asked import own
from arr_rpo.types import Criterion, Prompt, Rubric, UserError
from experiments.hacking.finished import Finished, Shown, look
from experiments.markdown import said, table

ALL = ""  # questions of a kind together
UNCHECKED = (  # tastes of the annotators whose AUC on the base's own samples is below 0.7 (experiments/unsaid/checked.py)
    "do all objects have different colors?",
    "is every object in the lower row?",
    "is every object in the right column?",
)
KINDS = {
    "prompt": "what the prompt asks for",
    "liked": "tastes of the annotator that the prompt leaves open",
    "other": "other tastes, and what is asked of any picture",
    "unnamed": "tastes of the annotator that no criterion names",
    "presence": "(of all these) that something is there",
    "absence": "(of all these) that nothing is there, or nothing more",
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


@dataclass(frozen=True)
class Found:
    """Of one run's criteria of a kind, or of one question among them, asked so many times: how much P(yes) rose, how much the
    truth did, and the difference."""

    arm: str
    annotator: str
    kind: str
    question: str
    asked: int
    rise: float
    truth: float
    gap: float

    @property
    def key(self) -> Hashable:
        return self.arm, self.annotator, self.kind, self.question


def kind_of(question: str, prompt: Prompt, who: Annotator) -> str:
    if question in {criterion.text for criterion in own(prompt.metadata)}:
        return "prompt"
    return "liked" if question in {taste.question for taste, _ in who.open_in(prompt.metadata)} else "other"


def sort_of(question: str) -> str | None:
    """Whether a criterion wants something to be there or not to be; None of arrangements, colours in general and so on."""
    if "nothing" in question or "in total" in question:
        return "absence"
    return "presence" if question.startswith("is there ") else None


def asked(judge: Judge, who: Annotator, shown: Shown, rubrics: Sequence[Rubric | None], kind: str | None = None) -> list[Asked]:
    """Of all criteria of weight above 0; what judge or oracle could not answer is left out. kind: of them all, in place of
    what each is about."""
    rows = [(k, c) for k, rubric in enumerate(rubrics) if rubric for c in rubric.criteria if c.weight > 0]
    questions = [c.question for _, c in rows]

    def answers(of: Judge, images: Sequence[Image]) -> list[float | None]:
        answered = of.check([shown.prompts[k] for k, _ in rows], [images[k] for k, _ in rows], questions)
        return [answer.value for answer in answered]

    columns = [answers(of, images) for of in (judge, TasteOracle()) for images in (shown.base, shown.images)]
    found = []
    for (k, c), *values in zip(rows, *columns, strict=True):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found.append(Asked(c.question, kind or kind_of(c.question, shown.prompts[k], who), c.weight, *known))
    return found


def summed(rows: Sequence[Asked], arm: str, annotator: str) -> list[Found]:
    """Of each kind and, of those that are named, each sort, and of each question of a kind: means over the prompts that were
    asked, each criterion with its weight."""
    groups: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for row in rows:
        groups[row.kind, ALL].append(row)
        groups[row.kind, row.question].append(row)
        if row.kind != "unnamed" and (sort := sort_of(row.question)):
            groups[sort, ALL].append(row)
    return [Found(arm, annotator, kind, question, *_means(some)) for (kind, question), some in groups.items()]


def _means(rows: Sequence[Asked]) -> tuple[int, float, float, float]:
    whole = sum(row.weight for row in rows)

    def mean(values: Sequence[float]) -> float:
        return sum(row.weight * value for row, value in zip(rows, values, strict=True)) / whole

    rise, truth = mean([r.after - r.before for r in rows]), mean([r.held_after - r.held_before for r in rows])
    return len(rows), rise, truth, mean([row.gap for row in rows])


def of_run(run: Path) -> list[Found]:
    """Of a finished run: criteria of its rubrics, where it has any, and tastes that these do not name, by its judge or the one
    whose features its scalar model reads: the control, what P(yes) does where nobody is paid for it."""
    trained = Finished(run)
    node = OmegaConf.select(trained.config, "reward.protocol.judge") or trained.config.get("judge")
    if not node:
        raise UserError(f"{run} has no judge that answers criteria")
    judge, shown = instantiate(node), trained.shown(trained.heldout)
    source = instantiate(trained.config.get("rubric"))
    rubrics = source.rubrics(shown.prompts, judge) if source else [None] * len(shown.prompts)
    rows = asked(judge, trained.who, shown, rubrics)
    rows += asked(judge, trained.who, shown, unnamed(trained.who, shown.prompts, rubrics), "unnamed")
    return summed(rows, trained.arm, trained.who.name)


def unnamed(who: Annotator, prompts: Sequence[Prompt], rubrics: Sequence[Rubric | None]) -> list[Rubric | None]:
    """For each prompt the tastes that it leaves open and its rubric does not name."""
    found: list[Rubric | None] = []
    for prompt, rubric in zip(prompts, rubrics, strict=True):
        named = {c.question for c in rubric.criteria if c.weight > 0} if rubric else set()
        left = [taste.question for taste, _ in who.open_in(prompt.metadata) if taste.question not in named]
        found.append(Rubric(tuple(Criterion("taste", question) for question in left)) if left else None)
    return found


def kinds_table(found: Sequence[Found]) -> str:
    """A row an arm and kind: means over annotators, 95% intervals of the gap."""
    rows = []
    for arm, (kind, words) in itertools.product(dict.fromkeys(row.arm for row in found), KINDS.items()):
        some = [row for row in found if (row.arm, row.kind, row.question) == (arm, kind, ALL)]
        if some:
            rise, truth = fmean(row.rise for row in some), fmean(row.truth for row in some)
            rows.append((arm, words, len(some), f"{rise:+.3f}", f"{truth:+.3f}", said([row.gap for row in some])))
    return table(["arm", "criteria about", "runs", "P(yes) rose by", "truth rose by", "gap"], rows)


FIGURES = ("rise", "truth", "gap")


def of_tastes(found: Sequence[Found], arm: str, kind: str, blind: bool) -> dict[str, tuple[float, ...]]:
    """`FIGURES` of each annotator's tastes of a kind, those that the judge cannot check or the others: means."""
    some: dict[str, list[Found]] = defaultdict(list)
    for row in found:
        if (row.arm, row.kind) == (arm, kind) and row.question and (row.question in UNCHECKED) == blind:
            some[row.annotator].append(row)
    return {who: tuple(fmean(getattr(r, name) for r in own) for name in FIGURES) for who, own in some.items()}


def paid_table(found: Sequence[Found]) -> str:
    """Tastes that one arm names and the other does not, of the same annotators: what being paid for them makes."""
    rows, arms = [], dict.fromkeys(row.arm for row in found)
    for blind, arm, other in itertools.product((False, True), arms, arms):
        ours, theirs = of_tastes(found, arm, "liked", blind), of_tastes(found, other, "unnamed", blind)
        if arm != other and len(both := [who for who in ours if who in theirs]) > 1:
            gaps = [said([ours[who][k] - theirs[who][k] for who in both]) for k in range(len(FIGURES))]
            rows.append(("that the judge cannot check" if blind else "that it can", f"{arm} - {other}", len(both), *gaps))
    return table(["tastes", "named - not named", "annotators", "P(yes) rose by", "truth rose by", "gap"], rows)


def tastes_table(found: Sequence[Found]) -> str:
    """Tastes that a run's rubrics name, and those that they do not, apart by whether the judge can check them; an annotator's
    are one value."""
    rows, arms = [], dict.fromkeys(row.arm for row in found)
    for blind, kind, arm in itertools.product((False, True), ("liked", "unnamed"), arms):
        if by_annotator := of_tastes(found, arm, kind, blind):
            figures = [[values[k] for values in by_annotator.values()] for k in range(len(FIGURES))]
            rise, truth = (f"{fmean(values):+.3f}" for values in figures[:2])
            words = "that the judge cannot check" if blind else "that it can"
            rows.append((words, "yes" if kind == "liked" else "no", arm, len(by_annotator), rise, truth, said(figures[2])))
    return table(["tastes", "named", "arm", "annotators", "P(yes) rose by", "truth rose by", "gap"], rows)


def worst(found: Sequence[Found], at_least: int = 10, most: int = 8) -> str:
    """Single criteria whose P(yes) rose most beyond the truth, of those that were asked so often."""
    some = sorted((row for row in found if row.question and row.asked >= at_least), key=lambda row: -row.gap)
    rows = [
        (r.arm, r.annotator, r.question, r.asked, f"{r.rise:+.3f}", f"{r.truth:+.3f}", f"{r.gap:+.3f}") for r in some[:most]
    ]
    heads = ["arm", "annotator", "criterion", "asked", "P(yes) rose by", "truth rose by", "gap"]
    between = f"gaps from {some[-1].gap:+.3f} to {some[0].gap:+.3f}" if some else "none"
    return f"Single criteria, asked {at_least} times and more: {len(some)}, {between}\n\n{table(heads, rows)}"


def tables(found: Sequence[Found]) -> str:
    return "\n\n".join(of(found) for of in (kinds_table, tastes_table, paid_table, worst))


@plain_errors
def main() -> None:
    look(__doc__, "criteria.csv", Found, of_run, tables)


if __name__ == "__main__":
    main()
