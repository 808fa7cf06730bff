"""The oracle as judge and as writer, of pictures and of edits: the ceiling of what a judge of the shapes world can be worth."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from arr_rpo.judge.base import Explaining, Pair
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import MAX_CRITERIA
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.world.asked import (
    Asked,
    Metadata,
    anyone,
    critique_text,
    dimension_grades,
    is_edit,
    of_this_world,
    own,
    truth_of,
)
from arr_rpo.shapes.world.asked import dimensions as dimensions_of
from arr_rpo.shapes.world.questions import Located
from arr_rpo.shapes.world.rubric_json import rubric_json, themes_json
from arr_rpo.shapes.world.tastes import everything, leaves_open
from arr_rpo.types import (
    Answer,
    Cost,
    Criterion,
    CriterionCheck,
    Critique,
    Outcome,
    Preference,
    Prompt,
    Reason,
    Rubric,
    UserError,
    Verdict,
)

Things = Sequence[Located]


class OracleJudge:
    """See `Judge`. Answers each question exactly; the image that meets more criteria wins, equal ones tie.

    Of an edit it knows the source by the prompt's metadata. A question of another world is one that it cannot answer.
    """

    name = "oracle"
    revision = "2"

    def __init__(self) -> None:
        self.writer = OracleWriter()

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """See `Judge.compare`. Without a rubric, by the prompt's own criteria."""
        return [self._verdict(*asked) for asked in zip(prompts, pairs, rubrics, strict=True)]

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Answer]:
        """See `Judge.score`. From the share of the prompt's criteria that hold."""
        scores = []
        for prompt, image in zip(prompts, images, strict=True):
            things = detection.detect(image)
            met = [criterion.truth(things) for criterion in _own(prompt)]
            scores.append(Answer(1 + 4 * sum(met) / len(met), Cost(calls=1)))
        return scores

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        found = {id(image): detection.detect(image) for image in {id(image): image for image in images}.values()}
        answers = []
        for prompt, image, question in zip(prompts, images, questions, strict=True):
            try:
                answers.append(Answer(float(_truth(prompt, question, found[id(image)])), Cost(calls=1)))
            except ValueError as error:
                answers.append(Answer(None, Cost(calls=1), str(error), Reason.UNKNOWN_QUESTION))
        return answers

    def critique(self, prompts: Sequence[Prompt], images: Sequence[Image], dimensions: Sequence[str]) -> list[Critique]:
        critiques = []
        for prompt, image in zip(prompts, images, strict=True):
            things, metadata = detection.detect(image), _metadata(prompt)
            known, grades = dimensions_of(metadata), dimension_grades(things, metadata)
            if unknown := [name for name in dimensions if name not in known]:
                raise UserError(f"judge=oracle knows no dimension {unknown[0]!r} here: it grades {', '.join(known)}")
            graded = {name: None if grades[name] == "NA" else float(grades[name]) for name in dimensions}
            critiques.append(Critique(critique_text(things, metadata), graded, float(grades["overall"]), Cost(calls=2)))
        return critiques

    def plan(self, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> tuple[list[str], Cost]:
        """See `Judge.plan`. The prompt's criteria on which the images differ; all of them where they differ on none."""
        plans = []
        for prompt, pair in zip(prompts, pairs, strict=True):
            a, b = map(detection.detect, pair)
            split = [criterion for criterion in _own(prompt) if criterion.truth(a) != criterion.truth(b)]
            plans.append(_written(split or _own(prompt)))
        return plans, Cost(calls=len(pairs))

    @staticmethod
    def _verdict(prompt: Prompt, pair: Pair, rubric: Rubric | None) -> Verdict:
        cost, found = Cost(calls=2), [detection.detect(image) for image in pair]
        asked = [(c.name, c.question) for c in rubric.criteria] if rubric else [(c.name, c.text) for c in _own(prompt)]
        try:
            a, b = ([float(_truth(prompt, question, things)) for _, question in asked] for things in found)
        except ValueError as error:
            return Verdict(Outcome.FAILED, None, cost=cost, reason=str(error), failure=Reason.UNKNOWN_QUESTION)
        checks = tuple(CriterionCheck(n, q, x, y) for (n, q), x, y in zip(asked, a, b, strict=True))
        gap = sum(a) - sum(b)
        outcome = Outcome.higher(gap, 0)
        p_a = {Outcome.A: 1.0, Outcome.B: 0.0}.get(outcome, 0.5)
        return Verdict(outcome, p_a, (p_a, p_a), checks, cost)


class OracleWriter:
    """See `Writer`. Where no criterion explains a preference, the rubric that it writes is empty: none at all."""

    name, revision = OracleJudge.name, OracleJudge.revision

    def write(self, prompts: Sequence[Prompt]) -> tuple[list[str], Cost]:
        """See `Writer.write`. The criteria that the prompt's metadata implies."""
        return [_written(_own(prompt)) for prompt in prompts], Cost(calls=len(prompts))

    def write_from_pairs(self, pairs: Sequence[Preference], *, role: Explaining) -> tuple[list[str], Cost]:
        asked = [self._own(pair.prompt) if role == "write_pair" else _anyone(pair.prompt) for pair in pairs]
        texts = [_written(_explaining(pair, some)) for pair, some in zip(pairs, asked, strict=True)]
        return texts, Cost(calls=len(pairs))

    def _own(self, prompt: Prompt) -> list[Asked]:
        """What may be asked of pictures of a prompt."""
        return _own(prompt)

    def refine(
        self, pairs: Sequence[Preference], rubrics: Sequence[Rubric], verdicts: Sequence[Verdict]
    ) -> tuple[list[str], Cost]:
        """See `Writer.refine`. Criteria of the prompt or of any prompt stay, others go, and what explains the preference is
        added."""
        texts = []
        for pair, rubric in zip(pairs, rubrics, strict=True):
            mine = self._own(pair.prompt)
            wanted = {c.question for c in rubric.criteria} | {c.text for c in _explaining(pair, mine)}
            texts.append(_written([c for c in [*mine, *_anyone(pair.prompt)] if c.text in wanted]))
        return texts, Cost(calls=len(pairs))

    def structure(self, criteria: Sequence[Sequence[Criterion]]) -> tuple[list[str | NoAnswer], Cost]:
        """See `Writer.structure`. No reply where a question is of another world."""
        return [_structured([c.question for c in some]) for some in criteria], Cost(calls=len(criteria))

    def template(self, role: str) -> str:
        """See `Writer.template`. Nothing is asked in words."""
        return ""


class TasteOracle(OracleJudge):
    """The same, whose writer knows of tastes: a rubric from a pair names all that the better picture has and the other has not,
    be it of the prompt or of taste. It is not told what an annotator likes."""

    name = "oracle of tastes"
    revision = "1"

    def __init__(self) -> None:
        self.writer = TasteWriter()


class TasteWriter(OracleWriter):
    """See `TasteOracle`."""

    name, revision = TasteOracle.name, TasteOracle.revision

    def write_from_pairs(self, pairs: Sequence[Preference], *, role: Explaining) -> tuple[list[str], Cost]:
        """See `Writer.write_from_pairs`. Of more than a rubric may hold, those that the pair's name decides."""
        texts = []
        for pair in pairs:
            asked = self._own(pair.prompt) if role == "write_pair" else [*_anyone(pair.prompt), *_tastes(pair.prompt)]
            named = _explaining(pair, asked)
            chosen = np.random.default_rng(zlib.crc32(pair.id.encode())).permutation(len(named))[:MAX_CRITERIA]
            texts.append(_written([named[int(i)] for i in sorted(chosen)]))
        return texts, Cost(calls=len(pairs))

    def _own(self, prompt: Prompt) -> list[Asked]:
        return [*_own(prompt), *(one for one in _tastes(prompt) if leaves_open(prompt.metadata, one.text))]


def _tastes(prompt: Prompt) -> list[Asked]:
    """None of an edit."""
    if is_edit(_metadata(prompt)):
        return []
    return [Asked("taste", one.question, one.truth) for one in everything()]


def _truth(prompt: Prompt, question: str, things: Things) -> bool:
    """Whether the answer is yes.

    Raises:
        ValueError: the question is of another world.
    """
    return truth_of(question, _metadata(prompt))(things)


def _explaining(pair: Preference, asked: Sequence[Asked]) -> list[Asked]:
    """What the better image meets and the other does not; nothing explains a tie."""
    if pair.better not in (Outcome.A, Outcome.B):
        return []
    better, other = map(detection.detect, (pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a))
    return [criterion for criterion in asked if criterion.truth(better) and not criterion.truth(other)]


def _structured(questions: Sequence[str]) -> str | NoAnswer:
    try:
        return themes_json(questions)
    except ValueError as error:
        return NoAnswer(Reason.UNKNOWN_QUESTION, str(error))


def _written(criteria: Sequence[Asked]) -> str:
    return rubric_json([(criterion.name, criterion.text) for criterion in criteria])


def _own(prompt: Prompt) -> list[Asked]:
    return own(_metadata(prompt))


def _anyone(prompt: Prompt) -> list[Asked]:
    return anyone(_metadata(prompt))


def _metadata(prompt: Prompt) -> Metadata:
    if not of_this_world(prompt.metadata):
        raise UserError(
            f"judge=oracle knows scenes and edits of the shapes world, and prompt {prompt.id!r} ({prompt.text!r}) is neither"
        )
    return prompt.metadata
