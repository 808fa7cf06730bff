"""What a judge said, as numbers for the log and as the rows that `run.folder` adds to `verdicts.jsonl`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from arr_rpo.judge.rubric_reply import to_json
from arr_rpo.types import Grade, Outcome, Prompt, Rewards, Rubric, Verdict


def failure_rate(rewards: Rewards) -> float:
    """Share of the verdicts, or else of the grades, that the judge failed to give; of a combined reward, over its parts."""
    asked = sum(len(part.verdicts) or len(part.grades) for _, part in rewards.judged())
    return failures(rewards) / asked if asked else 1.0 - float(rewards.valid_B.float().mean())


def failures(rewards: Rewards) -> int:
    """Of the verdicts, or else of the grades."""
    return len(_failed(rewards))


def outcomes(rewards: Rewards) -> Counter[str]:
    """How many verdicts came to what; grades that failed count as failed."""
    counts = Counter(str(v.outcome) for _, part in rewards.judged() for v in part.verdicts)
    failed = sum(grade.value is None for _, part in rewards.judged() if not part.verdicts for grade in part.grades)
    return counts + Counter({str(Outcome.FAILED): failed})


def reasons(rewards: Rewards) -> list[str]:
    """Why verdicts or grades failed, each reason once."""
    return sorted({failed.reason for failed in _failed(rewards) if failed.reason})


def failures_by_reason(rewards: Rewards) -> Counter[str]:
    """How many verdicts or grades failed for each kind of reason."""
    return Counter(str(failed.failure or "unnamed") for failed in _failed(rewards))


def _failed(rewards: Rewards) -> list[Verdict | Grade]:
    verdicts = [v for _, part in rewards.judged() for v in part.verdicts if v.outcome is Outcome.FAILED]
    return [*verdicts, *(grade for _, part in rewards.judged() for grade in part.grades if grade.value is None)]


def rates(rewards: Rewards) -> dict[str, float]:
    """Curves of one rollout. `criterion/<name>`, the most frequent first: mean probability of yes over all images asked
    about."""
    valid = rewards.valid_B
    verdicts = [v for _, part in rewards.judged() for v in part.verdicts]
    grades = [grade for _, part in rewards.judged() for grade in part.grades]
    found: dict[str, float] = {"judge/valid": float(valid.float().mean())}
    if valid.any():
        found["reward/mean"] = float(rewards.values_B[valid].mean())
    for name, part in rewards.parts.items():
        found[f"reward/valid/{name}"] = float(part.valid_B.float().mean())
        if part.valid_B.any():
            found[f"reward/mean/{name}"] = float(part.values_B[part.valid_B].mean())
    if verdicts:
        share = {o: sum(v.outcome is o for v in verdicts) / len(verdicts) for o in Outcome}
        found |= {
            "judge/decided": share[Outcome.A] + share[Outcome.B],
            "judge/first_wins": share[Outcome.A],
            "judge/tie_rate": share[Outcome.TIE],
            "judge/flip_rate": share[Outcome.INCONSISTENT],
        }
    if verdicts or grades:
        found["judge/failure_rate"] = failure_rate(rewards)
        asked = len(verdicts) + len(grades)
        found |= {f"judge/failed/{reason}": n / asked for reason, n in failures_by_reason(rewards).items()}
    if rewards.cost.dressed:
        found["judge/dressed"] = rewards.cost.dressed / rewards.cost.calls
    if rewards.cost.thought:
        found["judge/thought_tokens"] = float(rewards.cost.thought)
    passed: dict[str, list[float]] = defaultdict(list)
    for check in [check for verdict in verdicts for check in verdict.checks]:
        passed[check.name] += [check.a, check.b]
    for name, _, p in [check for grade in grades for check in grade.checks]:
        passed[name].append(p)
    found |= {f"criterion/{name}": sum(p) / len(p) for name, p in sorted(passed.items(), key=lambda item: -len(item[1]))}
    if everything := [p for some in passed.values() for p in some]:
        found["criterion/mean"] = sum(everything) / len(everything)
    return found


def records(prompts: Sequence[Prompt], group_size: int, rewards: Rewards) -> Iterator[dict[str, Any]]:
    """One a verdict, or one a grade where candidates were graded. `names`: of the criteria in `checks`, in order. `part`: of a
    combined reward, the part that it belongs to."""
    for name, part in rewards.judged():
        for record in _records(prompts, group_size, part):
            yield {**record, "part": name} if name else record


def _records(prompts: Sequence[Prompt], group_size: int, rewards: Rewards) -> Iterator[dict[str, Any]]:
    for (a, b), verdict in zip(rewards.verdict_rows, rewards.verdicts, strict=True):
        yield {
            "kind": "verdict",
            **_asked(prompts[a // group_size], rewards.rubrics[a // group_size]),
            "candidates": [a % group_size, b % group_size],
            "outcome": str(verdict.outcome),
            "p_a": verdict.p_a,
            "p_a_by_order": verdict.p_a_by_order,
            "checks": [[c.question, round(c.a, 4), round(c.b, 4)] for c in verdict.checks],
            "names": [c.name for c in verdict.checks],
            "reason": verdict.reason,
            "failure": verdict.failure,
        }
    for row, grade in enumerate(rewards.grades):
        yield {
            "kind": "grade",
            **_asked(prompts[row // group_size], rewards.rubrics[row // group_size]),
            "candidate": row % group_size,
            "value": grade.value,
            "checks": [[question, round(p, 4)] for _, question, p in grade.checks],
            "names": [name for name, _, _ in grade.checks],
            "reason": grade.reason,
            "failure": grade.failure,
        }


def _asked(prompt: Prompt, rubric: Rubric | None) -> dict[str, Any]:
    return {"prompt": prompt.text, "prompt_id": prompt.id, "rubric": to_json(rubric)["criteria"] if rubric else None}
