"""Winners and losers of a group, by verdicts on pairs of its candidates."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arr_rpo.judge.base import Judge
from arr_rpo.reward.pairings import Match, Pairing
from arr_rpo.reward.protocols import PairProtocol, PointProtocol, as_verdicts
from arr_rpo.types import Cost, Outcome, Rewards, Rollout, Rubric, UserError, Verdict


class Pairwise:
    """Candidates of a group meet as `pairing` has it; each gets the mean of what its verdicts gave it.

    The winner gets `win`, the loser `lose`, a tie gives both 0; an inconsistent or failed verdict is missing data, and a
    candidate without any verdict is masked. Published values: +1.0 and -0.1 (arXiv 2605.08354); symmetric ones are +1 and
    -1, which make the mean 2 * win rate - 1.

    Args:
        protocol: how a pair is judged. One that grades images judges a pair by the two grades.
    """

    def __init__(self, *, protocol: PairProtocol | PointProtocol, win: float, lose: float, pairing: Pairing) -> None:
        self.protocol, self.win, self.lose, self.pairing = protocol, win, lose, pairing

    @property
    def uses_rubric(self) -> bool:
        return self.protocol.uses_rubric

    def check_group_size(self, group_size: int) -> None:
        """Raises a UserError where someone would meet nobody."""
        met = {candidate for pairs in self.pairing(group_size, [0.0] * group_size) for pair in pairs for candidate in pair}
        if missing := set(range(group_size)) - met:
            raise UserError(
                f"algorithm.group_size={group_size}: candidate {min(missing) + 1} of each group would be compared with nobody; "
                "use an even number, reward/pairing=round_robin, or reward=scalar"
            )

    def __call__(self, judge: Judge, rollout: Rollout, rubrics: Sequence[Rubric | None]) -> Rewards:
        groups = range(len(rollout.prompts))
        scores = [[0.0] * rollout.group_size for _ in groups]
        rounds = {group: self.pairing(rollout.group_size, scores[group]) for group in groups}
        rows: list[Match] = []
        verdicts: list[Verdict] = []
        while asked := {group: pairs for group, some in rounds.items() if (pairs := next(some, None))}:
            met = [
                (group * rollout.group_size + i, group * rollout.group_size + j)
                for group, pairs in asked.items()
                for i, j in pairs
            ]
            answers = as_verdicts(
                self.protocol,
                judge,
                [rollout.prompt_of(a) for a, _ in met],
                [(rollout.images[a], rollout.images[b]) for a, b in met],
                [rubrics[a // rollout.group_size] for a, _ in met],
            )
            for pair, verdict in zip(met, answers, strict=True):
                for row, points in zip(pair, _points(verdict), strict=True):
                    scores[row // rollout.group_size][row % rollout.group_size] += points
            rows += met
            verdicts += answers
        order = sorted(range(len(rows)), key=lambda number: rows[number][0] // rollout.group_size)  # group by group
        rows, verdicts = [rows[number] for number in order], [verdicts[number] for number in order]
        values, valid = self._values(rows, verdicts, len(rollout.images))
        cost = sum((verdict.cost for verdict in verdicts), Cost())
        return Rewards(values, valid, tuple(verdicts), tuple(rows), rubrics=tuple(rubrics), cost=cost)

    def _values(self, rows: Sequence[Match], verdicts: Sequence[Verdict], size: int) -> tuple[torch.Tensor, torch.Tensor]:
        total, count = torch.zeros(size), torch.zeros(size)
        given = {Outcome.A: (self.win, self.lose), Outcome.B: (self.lose, self.win), Outcome.TIE: (0.0, 0.0)}
        for pair, verdict in zip(rows, verdicts, strict=True):
            if verdict.outcome in given:
                for row, value in zip(pair, given[verdict.outcome], strict=True):
                    total[row] += value
                    count[row] += 1
        return total / count.clamp(min=1), count > 0


def _points(verdict: Verdict) -> tuple[float, float]:
    return {Outcome.A: (1.0, 0.0), Outcome.B: (0.0, 1.0), Outcome.TIE: (0.5, 0.5)}.get(verdict.outcome, (0.0, 0.0))
