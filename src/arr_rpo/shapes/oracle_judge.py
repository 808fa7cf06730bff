"""The oracle as judge: the ceiling of what a judge of the shapes world can be worth."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes import oracle
from arr_rpo.shapes.judge_parts import rubric_json
from arr_rpo.shapes.questions import parse, questions_of
from arr_rpo.types import Cost, CriterionCheck, Outcome, Prompt, Rubric, Score, UserError, Verdict


class OracleJudge:
    """Answers each question exactly; the image that meets more criteria wins, equal ones tie."""

    name = "oracle"
    revision = "1"

    def compare(
        self, prompts: Sequence[Prompt], pairs: Sequence[tuple[Image, Image]], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]:
        verdicts = []
        for prompt, (a, b), rubric in zip(prompts, pairs, rubrics, strict=True):
            names = [(c.name, c.question) for c in rubric.criteria] if rubric else self._own(prompt)
            found_a, found_b = oracle.detect(a), oracle.detect(b)
            checks = tuple(
                CriterionCheck(n, q, float(parse(q).answer(found_a)), float(parse(q).answer(found_b))) for n, q in names
            )
            gap = sum(c.a - c.b for c in checks)
            outcome = Outcome.TIE if gap == 0 else (Outcome.A if gap > 0 else Outcome.B)
            p_a = {Outcome.A: 1.0, Outcome.B: 0.0}.get(outcome, 0.5)
            verdicts.append(Verdict(outcome, p_a, (p_a, p_a), checks, Cost(calls=2)))
        return verdicts

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Score]:
        scores = []
        for prompt, image in zip(prompts, images, strict=True):
            asked = questions_of(_metadata(prompt))
            found = oracle.detect(image)
            scores.append(Score(1 + 4 * sum(q.answer(found) for q in asked) / len(asked), Cost(calls=1)))
        return scores

    def check(self, images: Sequence[Image], questions: Sequence[str]) -> list[float | None]:
        return [float(parse(q).answer(oracle.detect(image))) for image, q in zip(images, questions, strict=True)]

    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]:
        known = {p.text: p for name in ("train", "heldout", "unseen") for p in read_prompts(f"shapes/{name}")}
        if missing := [text for text in prompts if text not in known]:
            raise UserError(f"the oracle knows no metadata of the prompt {missing[0]!r}: use judge=shapes to write rubrics")
        return [rubric_json(questions_of(_metadata(known[text]))) for text in prompts], Cost(calls=len(prompts))

    def write_template(self) -> str:
        return ""

    @staticmethod
    def _own(prompt: Prompt) -> list[tuple[str, str]]:
        return [(q.kind, str(q)) for q in questions_of(_metadata(prompt))]


def _metadata(prompt: Prompt) -> dict[str, object]:
    if not prompt.metadata.get("include"):
        raise UserError(f"judge=oracle needs GenEval metadata, and prompt {prompt.id!r} ({prompt.text!r}) has none")
    return dict(prompt.metadata)
