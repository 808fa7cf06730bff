"""The generate, criticise, refine loop of RationalRewards (arXiv 2604.11626), whose own form of it has two rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from arr_rpo.judge.base import Judge
from arr_rpo.refinement.base import Attempt, Refinement, Revision, Trail
from arr_rpo.reward.point_protocols import Rational
from arr_rpo.types import Painter, Prompt, UserError


class RefinementLoop:
    """Draws, has the picture criticised, and tries again.

    Args:
        critic: how the judge is asked for its critique and grades, which are in [0, 1].
        refinement: what is drawn from after the first round.
        rounds: pictures of a prompt at most.
        good_enough: the grade from which on a prompt is left; None goes through all rounds.
        seed: of a picture's noise, with the prompt's id and the round, so that neither the other prompts nor the kind of
            refinement change it.

    Raises:
        UserError: the settings contradict each other, or the judge cannot be asked for this refinement.
    """

    def __init__(
        self,
        *,
        policy: Painter,
        judge: Judge,
        critic: Rational,
        refinement: Refinement,
        rounds: int,
        good_enough: float | None,
        seed: int,
    ) -> None:
        if rounds < 1:
            raise UserError(f"rounds={rounds}: one picture is the least")
        if good_enough is not None and not 0 < good_enough <= 1:
            raise UserError(f"good_enough={good_enough}: a grade above 0 and up to 1, or null for all rounds")
        if not isinstance(critic, Rational):
            raise UserError("reward/protocol@critic: only `rational` says in words what is wrong with a picture")
        refinement.check(judge)
        self.policy, self.judge, self.critic, self.refinement = policy, judge, critic, refinement
        self.rounds, self.good_enough, self.seed = rounds, good_enough, seed

    def run(self, prompts: Sequence[Prompt]) -> list[Trail]:
        """The attempts at each prompt. Their ids tell the prompts apart in noise."""
        trails: list[Trail] = [()] * len(prompts)
        for round_number in range(1, self.rounds + 1):
            rows = [row for row, trail in enumerate(trails) if not self.is_good_enough(trail)]
            if not rows:
                break
            asked = [prompts[row] for row in rows]
            revisions = self._revisions(asked, [trails[row] for row in rows])
            keys = [(prompt.id, round_number) for prompt in asked]
            drawn = [dataclasses.replace(prompt, text=new.text) for prompt, new in zip(asked, revisions, strict=True)]
            images = self.policy.generate(drawn, self.seed, keys)
            # The judge is shown the prompt that was asked for: a text may be followed to the letter and be the wrong one.
            grades = self.critic.grades(self.judge, asked, images, [None] * len(asked))
            for row, new, key, image, grade in zip(rows, revisions, keys, images, grades, strict=True):
                trails[row] += (Attempt(new.text, (self.seed, *key), image, grade, new.unread, new.cost),)
        return trails

    def is_good_enough(self, trail: Trail) -> bool:
        """Whether one of the pictures has the grade that is wanted."""
        grades = [attempt.grade.value for attempt in trail]
        return self.good_enough is not None and any(grade is not None and grade >= self.good_enough for grade in grades)

    def _revisions(self, prompts: Sequence[Prompt], trails: Sequence[Trail]) -> list[Revision]:
        if not trails[0]:  # of the first round
            return [Revision(prompt.text) for prompt in prompts]
        return self.refinement.revise(self.judge, prompts, trails)
