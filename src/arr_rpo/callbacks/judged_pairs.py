"""What was said of a rollout, pair by pair, however it was judged: for whatever shows pictures beside the judge's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from arr_rpo.types import Grade, Outcome, Rewards

Check = tuple[str, str, tuple[float | None, ...]]  # name, question, the judge's probability of yes for each picture


@dataclass(frozen=True)
class JudgedCandidates:
    """What was said of one or two candidates. rows: theirs. grades: of each, or none where they were compared.
    outcome: None of one that stands alone."""

    rows: tuple[int, ...]
    outcome: Outcome | None
    p_a: float | None
    p_a_by_order: tuple[float, float] | None
    grades: tuple[float | None, ...]
    checks: tuple[Check, ...]
    reason: str


def judged_pairs(rewards: Rewards, group_size: int) -> Iterator[JudgedCandidates]:
    """The verdicts; or the grades, two neighbours of a group together, the last of an odd group alone. Of a combined reward the
    sums, with what each part gave for its checks."""
    for rows, v in zip(rewards.verdict_rows, rewards.verdicts, strict=True):
        checks = tuple((c.name, c.question, (c.a, c.b)) for c in v.checks)
        yield JudgedCandidates(rows, v.outcome, v.p_a, v.p_a_by_order, (), checks, v.reason)
    for first in range(len(rewards.grades)):
        if first % group_size % 2 == 0:
            end = (first // group_size + 1) * group_size
            some = tuple(range(first, min(first + 2, end)))
            yield _combined(some, rewards) if rewards.parts else _graded(some, rewards.grades)


def _graded(rows: tuple[int, ...], all_grades: tuple[Grade, ...]) -> JudgedCandidates:
    grades = [all_grades[row] for row in rows]
    values = tuple(grade.value for grade in grades)
    got = [{(name, question): p for name, question, p in grade.checks} for grade in grades]
    asked = dict.fromkeys(key for some in got for key in some)
    checks = tuple((name, question, tuple(some.get((name, question)) for some in got)) for name, question in asked)
    return JudgedCandidates(rows, _higher(values), None, None, values, checks, "; ".join(g.reason for g in grades if g.reason))


def _combined(rows: tuple[int, ...], rewards: Rewards) -> JudgedCandidates:
    checks: list[Check] = []
    for name, part in rewards.parts.items():
        checks.append((name, "this part's reward", tuple(float(part.values_B[r]) if part.valid_B[r] else None for r in rows)))
        for met, verdict in zip(part.verdict_rows, part.verdicts, strict=True):
            if met == rows:
                checks += [(f"{name}/{c.name}", c.question, (c.a, c.b)) for c in verdict.checks]
        if part.grades:
            checks += [(f"{name}/{own}", question, got) for own, question, got in _graded(rows, part.grades).checks]
    return replace(_graded(rows, rewards.grades), checks=tuple(checks))


def _higher(values: tuple[float | None, ...]) -> Outcome | None:
    known = [value for value in values if value is not None]
    if len(values) < 2:
        return None
    if len(known) < 2:
        return Outcome.FAILED
    return Outcome.higher(*known)
