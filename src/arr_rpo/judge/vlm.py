"""A frozen vision-language model as judge: free text where text is wanted, answer tokens or structured output elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL.Image import Image

from arr_rpo.judge.asking import Asker, Conversation, Model, assistant, hashed, user
from arr_rpo.judge.base import Pair, settle
from arr_rpo.judge.exemplars import Exemplars
from arr_rpo.judge.forms import A_B, GRADES, YES_NO, Form, Menu, NoAnswer, Slots, example, grades, verdict
from arr_rpo.judge.wording import render
from arr_rpo.judge.writer import VLMWriter
from arr_rpo.judge.written import CRITERIA
from arr_rpo.types import Answer, Cost, CriterionCheck, Critique, Outcome, Preference, Prompt, Rubric, UserError, Verdict

KEYS = ("numbers", "questions")


class VLMJudge:
    """Any image-text-to-text model as a `Judge`. Its parameters belong to nobody's optimizer and nobody's checkpoint.

    Args:
        model: `judge.local.model.LocalModel`, or `judge.server.model.ServerModel`.
        wording: the texts it is asked with (`judge/wordings`).
        describe: whether it describes each image before it is asked about it.
        keys: what the criteria of a comparison are called in its form: `numbers`, for which a server needs one schema a number
            of criteria, and which are not written out in each reply; or their `questions`, as the embedded judge was taught.
        tie_margin: distance from one half within which a pair is a tie.
        exemplars: labelled pairs that stand before each comparison without a rubric; None shows none.
    """

    def __init__(
        self,
        *,
        model: Model,
        wording: str,
        describe: bool,
        keys: str,
        tie_margin: float,
        max_description_tokens: int,
        max_critique_tokens: int,
        max_rubric_tokens: int,
        exemplars: Exemplars | None,
    ) -> None:
        self.asker = Asker(model, wording, describe=describe, max_description_tokens=max_description_tokens)
        if keys not in KEYS:
            raise UserError(f"judge.keys={keys!r} is none of {', '.join(KEYS)}")
        self.tie_margin, self.keys, self.exemplars = tie_margin, keys, exemplars
        self._max_critique, self._max_rubric = max_critique_tokens, max_rubric_tokens
        self.name, self.revision = model.name, model.revision()
        self.elsewhere: bool = getattr(model, "elsewhere", False)
        self.give_up: Callable[[], None] = getattr(model, "give_up", lambda: None)
        shown = {"describe": describe, "texts": self.asker.wording.digest_of("describe", "label"), "model": model.settings()}
        asked = {"keys": keys, "tie_margin": tie_margin, "texts": self.asker.wording.digest_of("check", "compare_rubric")}
        self.asked_as = hashed({**shown, **asked})
        self.writer = VLMWriter(self.asker, self.revision, max_rubric_tokens, hashed(shown))

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """See `Judge.compare`. One call an order; the reply names for each criterion who meets it, then the better image."""
        shown = [self._exemplars(prompt, rubric) for prompt, rubric in zip(prompts, rubrics, strict=True)]
        before = [pair for some in shown for pair in some]
        images = [image for pair in pairs for image in pair] + [image for pair in before for image in (pair.a, pair.b)]
        looking = self.asker.look([*prompts, *(pair.prompt for pair in before)], images)
        conversations, forms = [], []
        for prompt, (a, b), rubric, some in zip(prompts, pairs, rubrics, shown, strict=True):
            form: Form = verdict(self._keys(rubric)) if rubric else A_B
            role, fields = ("compare_rubric", {"rubric": render(rubric)}) if rubric else ("compare", {})
            for order in ((a, b), (b, a)):
                asked = self.asker.conversation(role, prompt, order, form=example(form), **fields)
                conversations.append(asked if isinstance(asked, NoAnswer) else [*self._turns(some), *asked])
                forms.append(form)
        answers, costs = self.asker.fill(conversations, forms)
        costs = _with_first(costs, looking)
        return [
            self._verdict(answers[2 * i], answers[2 * i + 1], rubric, costs[2 * i] + costs[2 * i + 1])
            for i, rubric in enumerate(rubrics)
        ]

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Answer]:
        """See `Judge.score`. The expected value over the five grade tokens."""
        answers, costs = self._single("score", prompts, images, [GRADES] * len(images), [{}] * len(images))
        return [
            Answer(None, cost, str(slots), slots.reason) if isinstance(slots, NoAnswer) else Answer(_expected(slots[0]), cost)
            for slots, cost in zip(answers, costs, strict=True)
        ]

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        fields = [{"question": question} for question in questions]
        answers, costs = self._single("check", prompts, images, [YES_NO] * len(images), fields)
        return [
            Answer(None, cost, str(slots), slots.reason) if isinstance(slots, NoAnswer) else Answer(slots[0]["yes"], cost)
            for slots, cost in zip(answers, costs, strict=True)
        ]

    def critique(self, prompts: Sequence[Prompt], images: Sequence[Image], dimensions: Sequence[str]) -> list[Critique]:
        """See `Judge.critique`. Two calls an image: the critique, then the grades with the critique in context."""
        looking = self.asker.look(prompts, images)
        asked = [
            self.asker.conversation("critique", prompt, [image], dimensions=", ".join(dimensions))
            for prompt, image in zip(prompts, images, strict=True)
        ]
        texts, writing = self.asker.generate(asked, self._max_critique, more_follows=True)
        form = grades(dimensions)
        request = user(self.asker.wording.say("grade", form=example(form)))
        graded: list[Conversation | NoAnswer] = []
        for turns, text in zip(asked, texts, strict=True):
            if isinstance(turns, NoAnswer) or isinstance(text, NoAnswer):
                graded.append(turns if isinstance(turns, NoAnswer) else text)  # type: ignore[arg-type]
            else:
                graded.append([*turns, assistant(text), request])
        answers, costs = self.asker.fill(graded, [form] * len(images))
        costs = _with_first(costs, looking + writing)
        return [_critique(str(text), slots, dimensions, cost) for text, slots, cost in zip(texts, answers, costs, strict=True)]

    def account(self) -> Mapping[str, Any]:
        return self.asker.model.account()

    def plan(self, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> tuple[Sequence[str | NoAnswer], Cost]:
        looking = self.asker.look(prompts, [image for pair in pairs for image in pair])
        asked = [self.asker.conversation("plan", prompt, pair) for prompt, pair in zip(prompts, pairs, strict=True)]
        replies, cost = self.asker.write(asked, [CRITERIA] * len(asked), self._max_rubric)
        return replies, looking + cost

    def _single(
        self,
        role: str,
        prompts: Sequence[Prompt],
        images: Sequence[Image],
        forms: Sequence[Menu],
        fields: Sequence[Mapping[str, str]],
    ) -> tuple[list[Slots | NoAnswer], list[Cost]]:
        looking = self.asker.look(prompts, images)
        asked = [
            self.asker.conversation(role, prompt, [image], **more)
            for prompt, image, more in zip(prompts, images, fields, strict=True)
        ]
        answers, costs = self.asker.fill(asked, forms)
        return answers, _with_first(costs, looking)

    def _exemplars(self, prompt: Prompt, rubric: Rubric | None) -> Sequence[Preference]:
        if self.exemplars is None:
            return ()
        if rubric is not None:
            raise UserError("judge.exemplars are pairs and labels, and say nothing of criteria: use reward=pairwise with them")
        return self.exemplars.of(prompt)

    def _turns(self, exemplars: Sequence[Preference]) -> Conversation:
        """Each pair as it is asked about, and its label as the reply. One that cannot be shown is left out."""
        turns: Conversation = []
        for pair in exemplars:
            asked = self.asker.conversation("compare", pair.prompt, (pair.a, pair.b), form=example(A_B))
            if not isinstance(asked, NoAnswer):
                turns += [*asked, assistant(str(pair.better))]
        return turns

    def _keys(self, rubric: Rubric) -> list[str]:
        if self.keys == "questions":
            return [criterion.question for criterion in rubric.criteria]
        return [str(number) for number in range(1, len(rubric.criteria) + 1)]

    def _verdict(self, first: Slots | NoAnswer, second: Slots | NoAnswer, rubric: Rubric | None, cost: Cost) -> Verdict:
        if isinstance(first, NoAnswer) or isinstance(second, NoAnswer):
            why = first if isinstance(first, NoAnswer) else second
            assert isinstance(why, NoAnswer)
            return Verdict(Outcome.FAILED, None, cost=cost, reason=str(why), failure=why.reason)
        checks = []
        for k, c in enumerate(rubric.criteria if rubric else ()):
            a, b = ([first[2 * k + i]["yes"], second[2 * k + 1 - i]["yes"]] for i in (0, 1))  # A first, A second
            leads = (a[0] - b[0], a[1] - b[1])
            checks.append(CriterionCheck(c.name, c.question, sum(a) / 2, sum(b) / 2, leads))
        return settle(first[-1]["A"], second[-1]["B"], self.tie_margin, tuple(checks), cost)


def _critique(text: str, slots: Slots | NoAnswer, dimensions: Sequence[str], cost: Cost) -> Critique:
    if isinstance(slots, NoAnswer):
        return Critique("", {}, None, cost, str(slots), slots.reason)
    # A dimension whose most probable grade is NA does not apply.
    graded = {
        name: None if max(slot, key=slot.__getitem__) == "NA" else _expected(slot)
        for name, slot in zip(dimensions, slots, strict=False)
    }
    return Critique(text, graded, _expected(slots[-1]), cost)


def _expected(slot: Mapping[str, float]) -> float:
    """Expected value over the choices that are numbers."""
    numbers = {int(choice): p for choice, p in slot.items() if choice.isdigit()}
    return sum(number * p for number, p in numbers.items()) / sum(numbers.values())


def _with_first(costs: Sequence[Cost], extra: Cost) -> list[Cost]:
    """What a batch cost beside its answers is put on the first of them."""
    return [costs[0] + extra, *costs[1:]] if costs else []
