"""A winner and a loser in each pair, by one rubric-conditioned verdict (ARR) or by a verdict without rubric."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arr_rpo.judge.base import Judge
from arr_rpo.types import Cost, Outcome, Rewards, Rollout, Rubric, UserError


class Pairwise:
    """Candidates of a group are compared in disjoint pairs (1st with 2nd, 3rd with 4th ...).

    The winner gets `win`, the loser `lose`, a tie 0 for both; an inconsistent or failed verdict is missing data. Published
    values: +1.0 and -0.1 (arXiv 2605.08354); symmetric ones are +1 and -1.

    Args:
        uses_rubric: whether the verdict is asked for with the prompt's rubric in context. A prompt whose rubric could not
            be written then gets no verdict.
    """

    def __init__(self, *, win: float, lose: float, uses_rubric: bool) -> None:
        self.win, self.lose, self.uses_rubric = win, lose, uses_rubric

    def check_group_size(self, group_size: int) -> None:
        if group_size % 2:
            raise UserError(
                f"algorithm.group_size={group_size}: a pairwise reward compares candidates in pairs; "
                "use an even number, or reward=scalar"
            )

    def __call__(self, judge: Judge, rollout: Rollout, rubrics: Sequence[Rubric | None]) -> Rewards:
        asked = [
            (index, first)
            for index in range(len(rollout.prompts))
            for first in range(0, rollout.group_size, 2)
            if not self.uses_rubric or rubrics[index] is not None
        ]
        pairs = [(rollout.group(index)[first], rollout.group(index)[first + 1]) for index, first in asked]
        in_context = [rubrics[index] if self.uses_rubric else None for index, _ in asked]
        verdicts = judge.compare([rollout.prompts[index] for index, _ in asked], pairs, in_context) if asked else []
        values = torch.zeros(len(rollout.images))
        valid = torch.zeros(len(rollout.images), dtype=torch.bool)
        for (index, first), verdict in zip(asked, verdicts, strict=True):
            a = index * rollout.group_size + first
            if verdict.outcome in (Outcome.A, Outcome.B, Outcome.TIE):
                valid[a : a + 2] = True
            if verdict.outcome in (Outcome.A, Outcome.B):
                winner = a + (verdict.outcome is Outcome.B)
                values[a : a + 2] = self.lose
                values[winner] = self.win
        return Rewards(
            values, valid, tuple(verdicts), tuple(a for a, _ in asked), tuple(rubrics), sum((v.cost for v in verdicts), Cost())
        )
