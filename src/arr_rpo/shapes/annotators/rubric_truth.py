"""Whether a rubric says what an annotator likes: precision, coverage and exactness, by the truth of its criteria and not by
their words.

`python -m arr_rpo.shapes.annotators.rubric_truth <annotator> <file or folder of rubrics> [<split>]` measures rubrics that
`rubrics.py export=<folder>` has written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.none import NoJudge
from arr_rpo.rubric.sources import FromFile
from arr_rpo.shapes.annotators.people import Annotator, annotator
from arr_rpo.shapes.world.asked import truth_of
from arr_rpo.shapes.world.tastes import following
from arr_rpo.types import Prompt, Rubric


@dataclass(frozen=True)
class Said:
    """Of the criteria of a rubric for one prompt: `right` are those that hold on just the same of all pictures that follow the
    prompt as one of the annotator's tastes; `idle` those that hold on all of these or on none, such as the prompt's own or
    a taste that it does not leave open; `wrong` all others, and questions that nobody can answer.

    coverage: share of the weight of the tastes that the prompt leaves open, of those that some criterion says.
    """

    right: int
    idle: int
    wrong: int
    coverage: float

    @property
    def precision(self) -> float | None:
        """Share of right ones of those that tell pictures apart that follow the prompt; None where there are none."""
        asked = self.right + self.wrong
        return self.right / asked if asked else None

    @property
    def exact(self) -> bool:
        return self.wrong == 0 and self.coverage == 1


def said(rubric: Rubric, prompt: Prompt, who: Annotator) -> Said | None:
    """What a rubric says of a prompt's open tastes; None where the annotator has none there."""
    likes = who.open_in(prompt.metadata)
    if not likes:
        return None
    pictures = following(prompt.metadata)
    liked = {tuple(one.truth(things) for things in pictures): weight for one, weight in likes}
    right = idle = wrong = 0
    covered: set[tuple[bool, ...]] = set()
    for criterion in rubric.criteria:
        try:
            truth = truth_of(criterion.question, prompt.metadata)
        except ValueError:  # a question of another world
            wrong += 1
            continue
        holds = tuple(truth(things) for things in pictures)
        right += holds in liked
        idle += len(set(holds)) == 1
        wrong += holds not in liked and len(set(holds)) == 2
        covered |= {holds} & liked.keys()
    return Said(right, idle, wrong, sum(liked[one] for one in covered) / sum(liked.values()))


@dataclass(frozen=True)
class Agreement:
    """Means over the prompts that leave some taste open and have a rubric. precision: over those of which it is known.
    without: prompts with an open taste and no rubric.
    """

    precision: float | None
    coverage: float
    exact: float
    prompts: int
    without: int


def agreement(rubrics: Sequence[Rubric | None], prompts: Sequence[Prompt], who: Annotator) -> Agreement:
    """How far the rubrics of some prompts say what an annotator likes. A prompt without one is counted, and covers nothing."""
    found, without = [], 0
    for rubric, prompt in zip(rubrics, prompts, strict=True):
        if rubric is None:
            without += bool(who.open_in(prompt.metadata))
        elif (one := said(rubric, prompt, who)) is not None:
            found.append(one)
    known = [one.precision for one in found if one.precision is not None]
    count = max(1, len(found) + without)
    return Agreement(
        precision=sum(known) / len(known) if known else None,
        coverage=sum(one.coverage for one in found) / count,
        exact=sum(one.exact for one in found) / count,
        prompts=len(found),
        without=without,
    )


def main() -> None:
    name, path, *split = sys.argv[1:]
    prompts = read_prompts(split[0] if split else "shapes/open_heldout")[:]
    measured = agreement(FromFile(path=path).rubrics(prompts, NoJudge()), prompts, annotator(name))
    print(measured)


if __name__ == "__main__":
    main()
