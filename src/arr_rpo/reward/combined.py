"""Several rewards as one: each with its weight, normalised within the group or not, or as a gate for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from arr_rpo.formulas.advantages import group_normalised
from arr_rpo.judge.asked_once import AskedOnce
from arr_rpo.judge.base import Judge
from arr_rpo.types import Cost, Grade, Rewards, Rollout, Rubric, UserError


class Reward(Protocol):
    """What makes rewards of a rollout: by a judge's verdicts or grades, or by a scorer's numbers."""

    uses_rubric: bool

    def check_group_size(self, group_size: int) -> None: ...
    def __call__(self, judge: Judge, rollout: Rollout, rubrics: Sequence[Rubric | None]) -> Rewards: ...


@dataclass(frozen=True)
class Part:
    """One of the rewards. weight: of its values in the sum. gate: a value that a candidate must reach before the other parts
    count for it; None is no gate."""

    reward: Reward
    weight: float
    gate: float | None


class Combined:
    """The weighted sum of its parts.

    A candidate that does not pass a gate gets from each other part the least that any of its group got from it: nothing is to
    be gained there before the gate is passed, on whatever scale it is.

    Args:
        parts: name -> {"reward", "weight", "gate"}.
        normalise: whether each part's values are made to mean 0 and deviation 1 within a group before they are weighed (GDPO,
            arXiv 2601.05242), so that weights compare parts whatever their scales are. Its normalisation of the sums over
            the update is not done: it is one factor for all advantages.
        missing: what becomes of a candidate that lacks a part's value. `mask`: it has no reward. `share`: the other parts'
            weights share the missing one's; one that lacks all, or a gate's value, has no reward: nobody knows that it passes.
    """

    def __init__(self, *, parts: Mapping[str, Mapping[str, Any]], normalise: bool, missing: Literal["mask", "share"]) -> None:
        if missing not in ("mask", "share"):
            raise UserError(f"reward.missing={missing!r} is none of mask, share")
        if not parts:
            raise UserError("reward=combined has no parts: give reward.parts.<name>={reward, weight, gate} (docs/rewards.md)")
        self.parts = {name: _part(name, given) for name, given in parts.items()}
        self.normalise, self.missing = normalise, missing

    @property
    def uses_rubric(self) -> bool:
        return any(part.reward.uses_rubric for part in self.parts.values())

    def check_group_size(self, group_size: int) -> None:
        for part in self.parts.values():
            part.reward.check_group_size(group_size)

    def __call__(self, judge: Judge, rollout: Rollout, rubrics: Sequence[Rubric | None]) -> Rewards:
        once = AskedOnce(judge)  # parts that ask the same are answered once
        made = {name: part.reward(once, rollout, rubrics) for name, part in self.parts.items()}
        values_NB = torch.stack([made[name].values_B.float() for name in self.parts])
        valid_NB = torch.stack([made[name].valid_B for name in self.parts])
        values_B, valid_B = self.total(values_NB, valid_NB, rollout.group_size)
        grades = tuple(
            Grade(float(value)) if valid else Grade(None, reason=self._why(made, row))
            for row, (value, valid) in enumerate(zip(values_B.tolist(), valid_B.tolist(), strict=True))
        )
        cost = sum((part.cost for part in made.values()), Cost())
        return Rewards(values_B, valid_B, grades=grades, rubrics=tuple(rubrics), cost=cost, parts=made)

    def total(self, values_NB: Tensor, valid_NB: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
        """(B,) sum of N parts' values, and which of them count."""
        weights_N = torch.tensor([part.weight for part in self.parts.values()])
        values_NB = _behind([part.gate for part in self.parts.values()], values_NB, valid_NB, weights_N, group_size)
        if self.normalise:
            groups = (len(self.parts) * values_NB.shape[1] // group_size, group_size)
            values_NB = group_normalised(values_NB.reshape(groups), valid_NB.reshape(groups)).view_as(values_NB)
        there_NB = valid_NB * weights_N.abs()[:, None]
        total_B = (values_NB.where(valid_NB, 0.0) * weights_N[:, None]).sum(0)
        if self.missing == "mask":
            valid_B = valid_NB.all(0)
        else:
            gates_N = torch.tensor([part.gate is not None for part in self.parts.values()])
            valid_B = (there_NB.sum(0) > 0) & valid_NB[gates_N].all(0)
            total_B = total_B * weights_N.abs().sum() / there_NB.sum(0).clamp(min=1e-12)
        return total_B.where(valid_B, 0.0), valid_B

    def _why(self, made: Mapping[str, Rewards], row: int) -> str:
        lacking = [name for name, part in made.items() if not part.valid_B[row]]
        grades = [made[name].grades[row].reason for name in lacking if made[name].grades]
        return f"no value of {', '.join(lacking)}{': ' if any(grades) else ''}{'; '.join(filter(None, grades))}"


def _part(name: str, given: Mapping[str, Any]) -> Part:
    if unknown := sorted(set(given) - {"reward", "weight", "gate"}):
        raise UserError(f"reward.parts.{name} has no setting {unknown[0]!r}: known are reward, weight and gate")
    if not callable(given.get("reward")):
        raise UserError(f"reward.parts.{name}.reward is no reward: name one, as in configs/reward/rubric_and_score.yaml")
    if lacks := sorted({"weight", "gate"} - set(given)):
        raise UserError(f"reward.parts.{name} lacks its {lacks[0]}: give reward, weight and gate (null is no gate)")
    return Part(given["reward"], float(given["weight"]), given["gate"])


def _behind(gates: Sequence[float | None], values_NB: Tensor, valid_NB: Tensor, weights_N: Tensor, group_size: int) -> Tensor:
    """The values of the parts, those of candidates that do not pass another part's gate as bad as the worst of their group: the
    lowest, or the highest of a part whose weight is negative. What passes a gate is said by values as they were given."""
    least_N1 = torch.tensor([-torch.inf if gate is None else gate for gate in gates])[:, None]
    shut_NB = valid_NB & (values_NB < least_N1)
    shut_by_others_NB = shut_NB.sum(0) - shut_NB.long() > 0
    signs_N1 = torch.where(weights_N < 0, -1.0, 1.0)[:, None]
    groups = (signs_N1 * values_NB).where(valid_NB, torch.inf).view(len(values_NB), -1, group_size)
    worst = groups.min(2, keepdim=True).values.expand_as(groups).reshape_as(values_NB)
    return torch.where(shut_by_others_NB & valid_NB, signs_N1 * worst, values_NB)
