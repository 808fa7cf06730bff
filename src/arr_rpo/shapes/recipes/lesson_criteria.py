"""What a lesson of the embedded judge is about: criteria of its prompt, of any prompt and of taste, whose truth is known.

`teacher` makes conversations of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from arr_rpo.judge.forms import A_B
from arr_rpo.shapes.recipes import taught
from arr_rpo.shapes.recipes.judge_data import Picture, balanced_question
from arr_rpo.shapes.world import prompts
from arr_rpo.shapes.world.asked import Asked, anyone, own, specific
from arr_rpo.shapes.world.tastes import Taste
from arr_rpo.shapes.world.vocabulary import TAGS
from arr_rpo.types import Outcome

Rng = np.random.Generator
MOST_CRITERIA = 8


def random_prompt(rng: Rng) -> dict[str, Any]:
    return prompts.random_metadata(str(rng.choice(TAGS, p=(0.08, 0.1, 0.22, 0.1, 0.2, 0.3))), rng)


def some_rubric(metadata: dict[str, Any], pair: list[Picture], rng: Rng) -> list[Asked]:
    """The prompt's own criteria, or some of them among others, or general ones, or one alone: the rubric rules."""
    mine, general_ones = own(metadata), anyone(metadata)
    kind = rng.random()
    if kind < 0.4:
        return mine
    if kind < 0.65:
        others = [specific(balanced_question(pair[int(rng.integers(2))].things, rng)) for _ in range(3)]
        pool = [a for a in mine if rng.random() < 0.7] + others[: int(rng.integers(0, 3))] or others[:1]
    elif kind < 0.8:
        pool = [general_ones[int(i)] for i in rng.permutation(len(general_ones))[: int(rng.integers(1, 7))]]
    elif kind < 0.9:
        pool = [[*mine, *general_ones][int(rng.integers(len(mine) + len(general_ones)))]]
    else:
        return distinct([*mine, *general_ones])[:MOST_CRITERIA]
    return distinct([pool[int(i)] for i in rng.permutation(len(pool))])


def rubric_with_tastes(metadata: dict[str, Any], pair: list[Picture], rng: Rng) -> list[Asked]:
    """Tastes, half of them such that the pictures differ in them, among some of the prompt's criteria and general ones."""
    a, b = (picture.things for picture in pair)
    split = [one for one in taught.taught() if one.truth(a) != one.truth(b)]
    likes = [
        split[int(rng.integers(len(split)))]
        if split and rng.random() < 0.5
        else taught.balanced_taste((a, b)[int(rng.integers(2))], rng)
        for _ in range(int(rng.integers(1, 6)))
    ]
    mine = own(metadata) if rng.random() < 0.4 else []
    general_ones = [c for c in anyone(metadata) if rng.random() < 0.5] if rng.random() < 0.3 else []
    pool = distinct([*(liked(one) for one in likes), *mine, *general_ones])
    return [pool[int(i)] for i in rng.permutation(len(pool))[:MOST_CRITERIA]]


class Mending(NamedTuple):
    """A rubric that is to be refined by a pair: what it asks, what it said of the pair, and what it should ask."""

    given: list[Asked]
    said: str
    target: list[Asked]


def to_mend(metadata: dict[str, Any], pair: list[Picture], better: int, rng: Rng) -> Mending:
    """What is right in the rubric stays, what is wrong goes, and what explains this preference is added."""
    mine = own(metadata)
    kept = [a for a in mine if rng.random() < 0.4]
    wrong = [specific(balanced_question(pair[int(rng.integers(2))].things, rng)) for _ in range(int(rng.integers(0, 3)))]
    given = distinct([*kept, *wrong]) or [specific(balanced_question(pair[0].things, rng))]
    given = [given[int(i)] for i in rng.permutation(len(given))]
    texts = {a.text for a in given} | {a.text for a in explaining(mine, pair, better)}
    return Mending(given, said_by(given, pair, rng), [a for a in mine if a.text in texts])


def to_mend_with_tastes(metadata: dict[str, Any], pair: list[Picture], better: int, rng: Rng) -> Mending | None:
    """Of a rubric with tastes those go that this pair contradicts, as the other picture alone meets them, and those that
    explain it are added. None where there are none, too many, or one that may not be named."""
    explaining_ones = taught.differing(pair[better].things, pair[1 - better].things)
    if not explaining_ones or not nameable(explaining_ones):
        return None
    against = taught.differing(pair[1 - better].things, pair[better].things)
    against = [one for one in against if one.question not in taught.HELDOUT]
    pool = [*some(explaining_ones, 2, rng), *some(against, 2, rng), *some(taught.taught(), 2, rng)]
    if not pool:
        return None
    mine = own(metadata)
    given = distinct([*(c for c in mine if rng.random() < 0.5), *map(liked, pool)])
    given = [given[int(i)] for i in rng.permutation(len(given))]
    texts = {a.text for a in given} - {one.question for one in against} | {one.question for one in explaining_ones}
    texts |= {a.text for a in explaining(mine, pair, better)}
    target = [a for a in distinct([*mine, *map(liked, taught.in_order())]) if a.text in texts]
    said = said_by(given, pair, rng)
    return Mending(given, said, target) if len(target) <= taught.MOST_NAMED else None


def liked(one: Taste) -> Asked:
    return Asked("taste", one.question, one.truth)


def nameable(tastes: Sequence[Taste]) -> bool:
    """Whether all of them may be named in a lesson."""
    return taught.HELDOUT.isdisjoint(one.question for one in tastes)


def some(tastes: Sequence[Taste], most: int, rng: Rng) -> list[Taste]:
    """Up to so many of them."""
    return [tastes[int(i)] for i in rng.permutation(len(tastes))[: int(rng.integers(0, most + 1))]]


def chance(share: float, rng: Rng) -> bool:
    """Draws nothing where the share is 0, so that lessons without tastes are what they were before there were any."""
    return share > 0 and bool(rng.random() < share)


def said_by(given: Sequence[Asked], pair: Sequence[Picture], rng: Rng) -> str:
    """What a rubric says of a pair, or, one time in five, that the judge could not say."""
    met_by = [sum(a.truth(p.things) for a in given) for p in pair]
    if rng.random() < 0.2:
        return str(rng.choice([Outcome.TIE, Outcome.INCONSISTENT]))
    return "tie" if met_by[0] == met_by[1] else A_B[int(met_by[1] > met_by[0])]


def distinct(asked: Sequence[Asked]) -> list[Asked]:
    return list({a.text: a for a in asked}.values())


def met(asked: Sequence[Asked], picture: Picture) -> float:
    """Share of the criteria that hold."""
    return sum(a.truth(picture.things) for a in asked) / len(asked)


def explaining(asked: Sequence[Asked], pair: Sequence[Picture], better: int) -> list[Asked]:
    """Criteria that the better picture meets and the other does not."""
    return [a for a in asked if a.truth(pair[better].things) and not a.truth(pair[1 - better].things)]


def better_of(asked: Sequence[Asked], pair: Sequence[Picture], rng: Rng) -> str:
    """The picture that meets more; a coin where they are equal, so that the judge learns to say one half."""
    a, b = (met(asked, picture) for picture in pair)
    return A_B[int(rng.integers(2))] if a == b else A_B[int(b > a)]
