"""What becomes of a prompt between two pictures: nothing, or a prompt writer's better one."""

from __future__ import annotations

from collections.abc import Sequence

from arr_rpo.judge.base import Judge, PromptWriter
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import RubricError
from arr_rpo.judge.written import prompt_in
from arr_rpo.refinement.base import Attempt, Revision, Trail
from arr_rpo.types import Cost, Prompt, UserError

ROLE = "refine_prompt"


class Redraw:
    """The prompt as it is, from new noise: best of n by the judge's grade, the control of every refinement that writes."""

    def check(self, judge: Judge) -> None:
        """See `Refinement.check`. Nothing is asked."""

    def revise(self, judge: Judge, prompts: Sequence[Prompt], trails: Sequence[Trail]) -> list[Revision]:
        """See `Refinement.revise`."""
        return [Revision(prompt.text) for prompt in prompts]


class Rewrite:
    """A text that the judge's own model writes from the prompt, the last picture, what it was drawn from, and its critique.

    What cannot be read, and a picture without a critique, leave the last text as it is.

    max_characters: of a text; a longer one is not cut but left.
    """

    def __init__(self, *, max_characters: int) -> None:
        if max_characters < 1:
            raise UserError(f"refinement.max_characters={max_characters}: a prompt has some characters")
        self.max_characters = max_characters

    def check(self, judge: Judge) -> None:
        """See `Refinement.check`."""
        writer_of(judge).template(ROLE)

    def revise(self, judge: Judge, prompts: Sequence[Prompt], trails: Sequence[Trail]) -> list[Revision]:
        """See `Refinement.revise`. What a batch cost is put on the first prompt that was asked about."""
        last = [trail[-1] for trail in trails]
        rows = [row for row, attempt in enumerate(last) if attempt.grade.value is not None]
        found = [Revision(attempt.text, f"no critique: {attempt.grade.reason}") for attempt in last]
        if not rows:
            return found
        replies, cost = writer_of(judge).refine_prompt(
            [prompts[row] for row in rows],
            [last[row].text for row in rows],
            [last[row].image for row in rows],
            [last[row].grade.reason for row in rows],
            self.max_characters,
        )
        for row, reply in zip(rows, replies, strict=True):
            found[row] = self._revision(last[row], reply, cost if row == rows[0] else Cost())
        return found

    def _revision(self, last: Attempt, reply: str | NoAnswer, cost: Cost) -> Revision:
        if isinstance(reply, NoAnswer):
            return Revision(last.text, str(reply), cost)
        try:
            return Revision(prompt_in(reply, self.max_characters), cost=cost)
        except RubricError as error:
            return Revision(last.text, str(error), cost)


def writer_of(judge: Judge) -> PromptWriter:
    """The judge as a writer of prompts.

    Raises:
        UserError: it is none.
    """
    if not isinstance(writer := judge.writer, PromptWriter):
        raise UserError(
            f"refinement=rewrite: judge {judge.name!r} writes no prompts. Use judge=qwen3_vl, qwen25_vl, server or vllm, or "
            "refinement=redraw, which needs no writer"
        )
    return writer
