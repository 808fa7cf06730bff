"""A vision-language model as writer of rubrics. Unlike a judge, it may be told which image people prefer."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.judge.asking import Asker, user
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.wording import render
from arr_rpo.types import Cost, Criterion, Preference, Prompt, Rubric, Verdict


class VLMWriter:
    """See `judge.base.Writer`. A reply that did not come is an empty text, which is no rubric."""

    def __init__(self, asker: Asker, revision: str, max_rubric_tokens: int) -> None:
        self.asker, self.name, self.revision, self._max_tokens = asker, asker.model.name, revision, max_rubric_tokens

    def write(self, prompts: Sequence[Prompt]) -> tuple[list[str], Cost]:
        """See `Writer.write`. The source of an edit is shown."""
        looking = self.asker.look(prompts, [])
        return self._replies([self.asker.conversation("write", p, []) for p in prompts], looking)

    def write_from_pairs(self, pairs: Sequence[Preference], *, general: bool) -> tuple[list[str], Cost]:
        """See `Writer.write_from_pairs`."""
        looking = self._look(pairs)
        role = "write_general" if general else "write_pair"
        return self._replies([self.asker.conversation(role, p.prompt, (p.a, p.b), better=p.better) for p in pairs], looking)

    def refine(
        self, pairs: Sequence[Preference], rubrics: Sequence[Rubric], verdicts: Sequence[Verdict]
    ) -> tuple[list[str], Cost]:
        """See `Writer.refine`."""
        looking = self._look(pairs)
        asked = [
            self.asker.conversation(
                "refine", p.prompt, (p.a, p.b), better=p.better, rubric=render(rubric), said=v.outcome, details=_details(v)
            )
            for p, rubric, v in zip(pairs, rubrics, verdicts, strict=True)
        ]
        return self._replies(asked, looking)

    def structure(self, criteria: Sequence[Sequence[Criterion]]) -> tuple[list[str], Cost]:
        """See `Writer.structure`."""
        lists = [render([c.question for c in some]) for some in criteria]
        return self._replies([[user(self.asker.wording.say("structure", criteria=text))] for text in lists], Cost())

    def refine_prompt(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str],
        images: Sequence[Image],
        critiques: Sequence[str],
        max_characters: int,
    ) -> tuple[list[str], Cost]:
        """See `PromptWriter.refine_prompt`."""
        looking = self.asker.look(prompts, images)
        asked = [
            self.asker.conversation(
                "refine_prompt", prompt, [image], text=text, critique=critique, max_characters=str(max_characters)
            )
            for prompt, text, image, critique in zip(prompts, texts, images, critiques, strict=True)
        ]
        return self._replies(asked, looking)

    def template(self, role: str) -> str:
        """See `Writer.template`."""
        return self.asker.wording.digest(role)

    def _look(self, pairs: Sequence[Preference]) -> Cost:
        return self.asker.look([p.prompt for p in pairs], [image for p in pairs for image in (p.a, p.b)])

    def _replies(self, conversations: list, looking: Cost) -> tuple[list[str], Cost]:  # type: ignore[type-arg]
        replies, cost = self.asker.generate(conversations, self._max_tokens)
        return ["" if isinstance(reply, NoAnswer) else reply for reply in replies], looking + cost


def _details(verdict: Verdict) -> str:
    """Each criterion's answers in the verdict that missed the preference."""
    if not verdict.checks:
        return verdict.reason
    return "\n".join(f"{c.question} A: {c.a:.2f}, B: {c.b:.2f}" for c in verdict.checks)
