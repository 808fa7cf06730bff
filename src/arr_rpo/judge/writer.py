"""A vision-language model as writer of rubrics. Unlike a judge, it may be told which image people prefer."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.judge import written
from arr_rpo.judge.asking import Asker, Conversation, user
from arr_rpo.judge.base import Explaining
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.wording import render
from arr_rpo.judge.written import Written
from arr_rpo.types import Cost, Criterion, Preference, Prompt, Rubric, Verdict


class VLMWriter:
    """See `judge.base.Writer`."""

    def __init__(self, asker: Asker, revision: str, max_rubric_tokens: int, asked_as: str) -> None:
        self.asker, self.name, self.revision, self._max_tokens = asker, asker.model.name, revision, max_rubric_tokens
        self.asked_as = asked_as

    def write(self, prompts: Sequence[Prompt]) -> tuple[list[str | NoAnswer], Cost]:
        """See `Writer.write`. The source of an edit is shown."""
        looking = self.asker.look(prompts, [])
        return self._replies([self.asker.conversation("write", p, []) for p in prompts], looking)

    def write_from_pairs(self, pairs: Sequence[Preference], *, role: Explaining) -> tuple[list[str | NoAnswer], Cost]:
        looking = self._look(pairs)
        return self._replies([self.asker.conversation(role, p.prompt, (p.a, p.b), better=p.better) for p in pairs], looking)

    def refine(
        self, pairs: Sequence[Preference], rubrics: Sequence[Rubric], verdicts: Sequence[Verdict]
    ) -> tuple[list[str | NoAnswer], Cost]:
        looking = self._look(pairs)
        asked = [
            self.asker.conversation(
                "refine", p.prompt, (p.a, p.b), better=p.better, rubric=render(rubric), said=v.outcome, details=_details(v)
            )
            for p, rubric, v in zip(pairs, rubrics, verdicts, strict=True)
        ]
        return self._replies(asked, looking)

    def structure(self, criteria: Sequence[Sequence[Criterion]]) -> tuple[list[str | NoAnswer], Cost]:
        lists = [render([c.question for c in some]) for some in criteria]
        asked = [[user(self.asker.wording.say("structure", criteria=text))] for text in lists]
        return self._replies(asked, Cost(), [written.themes(some) for some in criteria])

    def refine_prompt(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str],
        images: Sequence[Image],
        critiques: Sequence[str],
        max_characters: int,
    ) -> tuple[list[str | NoAnswer], Cost]:
        looking = self.asker.look(prompts, images)
        asked = [
            self.asker.conversation(
                "refine_prompt", prompt, [image], text=text, critique=critique, max_characters=str(max_characters)
            )
            for prompt, text, image, critique in zip(prompts, texts, images, critiques, strict=True)
        ]
        return self._replies(asked, looking, [written.prompt(max_characters)] * len(asked))

    def template(self, role: str) -> str:
        return self.asker.wording.digest(role)

    def _look(self, pairs: Sequence[Preference]) -> Cost:
        return self.asker.look([p.prompt for p in pairs], [image for p in pairs for image in (p.a, p.b)])

    def _replies(
        self, conversations: Sequence[Conversation | NoAnswer], looking: Cost, forms: Sequence[Written] | None = None
    ) -> tuple[list[str | NoAnswer], Cost]:
        """Rubrics, where `forms` says nothing else."""
        wanted = forms or [written.CRITERIA] * len(conversations)
        replies, cost = self.asker.write(conversations, wanted, self._max_tokens)
        return replies, looking + cost


def _details(verdict: Verdict) -> str:
    """Each criterion's answers in the verdict that missed the preference."""
    if not verdict.checks:
        return verdict.reason
    return "\n".join(f"{c.question} A: {c.a:.2f}, B: {c.b:.2f}" for c in verdict.checks)
