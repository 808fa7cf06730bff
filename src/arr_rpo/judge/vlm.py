"""A frozen vision-language model as judge: free text where text is wanted, answer tokens elsewhere.

`describe: true` lets the model name what it sees in each image first (once an image, kept by content) and puts that into
the conversation before the question: critique before verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from PIL.Image import Image

from arr_rpo.judge.base import Pair, settle
from arr_rpo.judge.forms import A_B, GRADES, YES_NO, Form, critique
from arr_rpo.judge.local_model import LocalModel, OutsideChoicesError
from arr_rpo.judge.wording import Wording, render
from arr_rpo.types import Cost, CriterionCheck, Outcome, Prompt, Rubric, Score, Verdict


class VLMJudge:
    """Any image-text-to-text model. Its parameters belong to nobody's optimizer and nobody's checkpoint.

    Args:
        checkpoint: a model folder or a hub id in the local cache; "shapes" is the embedded judge.
        wording: the texts it is asked with (`judge/wordings`).
        describe: whether it describes each image before it is asked about it.
        batch_size: conversations in one forward pass.
        tie_margin: distance from one half within which a pair is a tie.
        min_choice_mass: probability the menu must hold for an answer to count; below it the answer is a failure.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        wording: str,
        describe: bool,
        dtype: str,
        device: str,
        batch_size: int,
        tie_margin: float,
        min_choice_mass: float,
        max_description_tokens: int,
        max_rubric_tokens: int,
    ) -> None:
        self.local = LocalModel(checkpoint, dtype, device, batch_size, min_choice_mass)
        self.wording, self.describe, self.tie_margin = Wording(wording), describe, tie_margin
        self._max_description, self._max_rubric = max_description_tokens, max_rubric_tokens
        self.name = checkpoint
        self.revision = self.local.revision()
        self._seen: dict[str, str] = {}

    # -- the roles ----------------------------------------------------------------------------------------------------

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """See `Judge.compare`. One call an order; the reply names for each criterion who meets it, then the better image."""
        description_cost = self._describe([image for pair in pairs for image in pair])
        verdicts: list[Verdict] = []
        requests = [
            (self._conversation(order, self._comparison(prompt, rubric)), _form(rubric))
            for prompt, (a, b), rubric in zip(prompts, pairs, rubrics, strict=True)
            for order in ((a, b), (b, a))
        ]
        answers, costs = self.local.fill([r[0] for r in requests], [r[1] for r in requests])
        for i, rubric in enumerate(rubrics):
            cost = costs[2 * i] + costs[2 * i + 1]
            if i == 0:
                cost += description_cost
            verdicts.append(self._verdict(answers[2 * i], answers[2 * i + 1], rubric, cost))
        return verdicts

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Score]:
        """See `Judge.score`. The expected value over the five grade tokens."""
        first_cost = self._describe(images)
        conversations = [
            self._conversation([image], self.wording("score", prompt=prompt.text))
            for prompt, image in zip(prompts, images, strict=True)
        ]
        scores = []
        for index, (slots, cost) in enumerate(zip(*self.local.fill(conversations, [(GRADES,)] * len(images)), strict=True)):
            total = cost + first_cost if index == 0 else cost
            if isinstance(slots, OutsideChoicesError):
                scores.append(Score(None, total, str(slots)))
            else:
                scores.append(Score(sum(int(grade) * p for grade, p in slots[0].items()), total))
        return scores

    def check(self, images: Sequence[Image], questions: Sequence[str]) -> list[float | None]:
        """See `Judge.check`."""
        self._describe(images)
        conversations = [
            self._conversation([image], self.wording("check", question=question))
            for image, question in zip(images, questions, strict=True)
        ]
        answers, _ = self.local.fill(conversations, [(YES_NO,)] * len(images))
        return [None if isinstance(slots, OutsideChoicesError) else slots[0]["yes"] for slots in answers]

    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]:
        """See `Judge.write`."""
        conversations = [[_user(self.wording("write", prompt=prompt))] for prompt in prompts]
        return self.local.generate(conversations, self._max_rubric)

    def write_template(self) -> str:
        return self.wording.digest("write")

    def descriptions(self, images: Sequence[Image]) -> list[str]:
        """What the model says it sees in each image."""
        self._describe(images)
        return [self._seen[_digest(image)] for image in images]

    # -- how they are asked -------------------------------------------------------------------------------------------

    def _comparison(self, prompt: Prompt, rubric: Rubric | None) -> str:
        if rubric is None:
            return self.wording("compare", prompt=prompt.text)
        return self.wording("compare_rubric", prompt=prompt.text, rubric=render(rubric))

    def _verdict(self, first: Any, second: Any, rubric: Rubric | None, cost: Cost) -> Verdict:
        for answer in (first, second):
            if isinstance(answer, OutsideChoicesError):
                return Verdict(Outcome.FAILED, None, cost=cost, reason=str(answer))
        criteria = rubric.criteria if rubric else ()
        checks = tuple(
            CriterionCheck(
                c.name,
                c.question,
                a=(first[2 * k]["yes"] + second[2 * k + 1]["yes"]) / 2,
                b=(first[2 * k + 1]["yes"] + second[2 * k]["yes"]) / 2,
            )
            for k, c in enumerate(criteria)
        )
        return settle(first[-1]["A"], second[-1]["B"], self.tie_margin, checks, cost)

    def _conversation(self, images: Sequence[Image], question: str) -> list[dict[str, Any]]:
        """The images, each with its letter where there are several and followed by its description, then the question."""
        letters = [self.wording("label", letter=letter) for letter in "AB"] if len(images) > 1 else [""]
        if not self.describe:
            shown = [part for letter, image in zip(letters, images, strict=True) for part in (letter, image)]
            return [_user(*shown, question)]
        turns = []
        for letter, image in zip(letters, images, strict=True):
            description = {"role": "assistant", "content": self._seen[_digest(image)]}
            turns += [_user(letter, image, self.wording("describe")), description]
        return [*turns, _user(question)]

    def _describe(self, images: Sequence[Image]) -> Cost:
        """Makes sure that each image's description is known. The memory holds the images of one call only."""
        if not self.describe:
            return Cost()
        new = {_digest(image): image for image in images}
        self._seen = {key: text for key, text in self._seen.items() if key in new}
        unknown = [key for key in new if key not in self._seen]
        if not unknown:
            return Cost()
        texts, cost = self.local.generate(
            [[_user(new[key], self.wording("describe"))] for key in unknown], self._max_description
        )
        self._seen.update(zip(unknown, texts, strict=True))
        return cost


def _user(*parts: str | Image) -> dict[str, Any]:
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image", "image": p} for p in parts if p != ""]
    return {"role": "user", "content": content}


def _form(rubric: Rubric | None) -> Form:
    return critique([c.question for c in rubric.criteria]) if rubric else (A_B,)


def _digest(image: Image) -> str:
    return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()
