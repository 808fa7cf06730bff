"""What a judge said, as numbers for the log and as records for `verdicts.jsonl`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from arr_rpo.rubric.parse import to_json
from arr_rpo.types import Grade, Outcome, Rewards, Rollout, Verdict


def failure_rate(rewards: Rewards) -> float:
    """Share of the verdicts, or else of the grades, that the judge failed to give."""
    failed = failures(rewards)
    asked = len(rewards.verdicts) or len(rewards.grades)
    return failed / asked if asked else 1.0 - float(rewards.valid_B.float().mean())


def failures(rewards: Rewards) -> int:
    if rewards.verdicts:
        return sum(v.outcome is Outcome.FAILED for v in rewards.verdicts)
    return sum(grade.value is None for grade in rewards.grades)


def reasons(rewards: Rewards) -> list[str]:
    """Why verdicts or grades failed, each reason once."""
    return sorted({failed.reason for failed in _failed(rewards) if failed.reason})


def failures_by_reason(rewards: Rewards) -> Counter[str]:
    """How many verdicts or grades failed for each kind of reason."""
    return Counter(str(failed.failure or "unnamed") for failed in _failed(rewards))


def _failed(rewards: Rewards) -> list[Verdict | Grade]:
    verdicts = [verdict for verdict in rewards.verdicts if verdict.outcome is Outcome.FAILED]
    return [*verdicts, *(grade for grade in rewards.grades if grade.value is None)]


def rates(rewards: Rewards) -> dict[str, float]:
    """Curves of one rollout. `criterion/<name>`, the most frequent first: mean probability of yes over all images asked
    about."""
    valid, verdicts = rewards.valid_B, rewards.verdicts
    found: dict[str, float] = {"judge/valid": float(valid.float().mean())}
    if valid.any():
        found["reward/mean"] = float(rewards.values_B[valid].mean())
    if verdicts:
        share = {o: sum(v.outcome is o for v in verdicts) / len(verdicts) for o in Outcome}
        found |= {
            "judge/win_rate": share[Outcome.A] + share[Outcome.B],
            "judge/first_wins": share[Outcome.A],
            "judge/tie_rate": share[Outcome.TIE],
            "judge/flip_rate": share[Outcome.INCONSISTENT],
        }
    if verdicts or rewards.grades:
        found["judge/failure_rate"] = failure_rate(rewards)
        asked = len(verdicts) or len(rewards.grades)
        found |= {f"judge/failed/{reason}": n / asked for reason, n in failures_by_reason(rewards).items()}
    if rewards.cost.dressed:
        found["judge/dressed"] = rewards.cost.dressed / rewards.cost.calls
    if rewards.cost.thought:
        found["judge/thought_tokens"] = float(rewards.cost.thought)
    passed: dict[str, list[float]] = defaultdict(list)
    for check in [check for verdict in verdicts for check in verdict.checks]:
        passed[check.name] += [check.a, check.b]
    for name, _, p in [check for grade in rewards.grades for check in grade.checks]:
        passed[name].append(p)
    found |= {f"criterion/{name}": sum(p) / len(p) for name, p in sorted(passed.items(), key=lambda item: -len(item[1]))}
    if everything := [p for some in passed.values() for p in some]:
        found["criterion/mean"] = sum(everything) / len(everything)
    return found


def records(rollout: Rollout, rewards: Rewards) -> Iterator[dict[str, Any]]:
    """One a verdict, or one a grade where candidates were graded. `names`: of the criteria in `checks`, in order."""
    for (a, b), verdict in zip(rewards.verdict_rows, rewards.verdicts, strict=True):
        yield {
            "kind": "verdict",
            **_asked(rollout, rewards, a),
            "candidates": [a % rollout.group_size, b % rollout.group_size],
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
            **_asked(rollout, rewards, row),
            "candidate": row % rollout.group_size,
            "value": grade.value,
            "checks": [[question, round(p, 4)] for _, question, p in grade.checks],
            "names": [name for name, _, _ in grade.checks],
            "reason": grade.reason,
            "failure": grade.failure,
        }


def _asked(rollout: Rollout, rewards: Rewards, row: int) -> dict[str, Any]:
    prompt = rollout.prompt_of(row)
    rubric = rewards.rubrics[row // rollout.group_size]
    return {"prompt": prompt.text, "prompt_id": prompt.id, "rubric": to_json(rubric)["criteria"] if rubric else None}
