"""One rubric for all prompts, with weights: what many criteria are worth to those who labelled the pairs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from arr_rpo.data.preferences.base import Pairs
from arr_rpo.judge.base import Explaining, Judge
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.reasons import OF_THE_REPLY
from arr_rpo.judge.rubric_reply import MAX_CRITERIA, MAX_WEIGHT, RubricError, parse_rubric
from arr_rpo.noise import Purpose, draws
from arr_rpo.rubric.auto_rubric import distinct, most_agreed, same_words
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.files import criteria_digest, read_rubrics
from arr_rpo.rubric.refined import DECIDED, explaining, pictures, told
from arr_rpo.rubric.sources import RubricSource, Source, asked_as, rubric_files, written_by
from arr_rpo.rubric.store import RubricStore
from arr_rpo.rubric.weights import Fit, cross_validated
from arr_rpo.types import Cost, Criterion, Outcome, Preference, Prompt, Rubric, UserError

log = logging.getLogger(__name__)

DIGITS = 3  # of a weight; what rounds to 0 is dropped
OWN = Criterion("prompt", "does the image meet the criteria of its own prompt?")  # stands for them where a weight is theirs


class GlobalWeighted(Source):
    """One rubric for any prompt. A draft is written from each pair, or a file has the criteria to choose from; the judge checks
    each criterion on the pictures of all pairs; the criteria's weights predict the labels (`weights.weigh`), and one of weight
    0 is dropped (arXiv 2605.17602).

    Pairs on which a criterion could not be checked are left out of the regression, and nothing is stored then.

    Args:
        preferences: of which the first `pairs` are taken, ties aside, in an order that the seed decides.
        role: in which the writer is asked (`judge.base.Explaining`).
        candidates: a file or folder of rubrics, or one that ships (`sources.rubric_files`), all of whose criteria are checked;
            no writer is asked then.
        own: where the prompt's own criteria come from, if these are to count beside those for any prompt. They are weighed as
            one, the share of them that is met, and share its weight.
        own_penalty: of their weight, as a share of that of others. Below 1: that a prompt is to be followed is believed before
            any pair is seen.
        max_candidates: criteria of drafts that are checked, those that most agree on; max_criteria: of the rubric, those of the
            greatest weight.
        penalties: of the weights' sum, in nats a pair, of which the one is taken that predicts best what is left out in one of
            `folds` parts of the prompts.
    """

    def __init__(
        self,
        *,
        store: str,
        preferences: Pairs,
        seed: int,
        pairs: int,
        max_candidates: int,
        max_criteria: int,
        penalties: Sequence[float],
        folds: int,
        role: Explaining = "write_general",  # a run of before does not know it
        candidates: str | None = None,  # nor this
        own: RubricSource | None = None,  # nor this
        own_penalty: float = 1.0,
    ) -> None:
        super().__init__()
        if not 1 <= max_criteria <= MAX_CRITERIA or not penalties or min(penalties) <= 0 or folds < 2 or own_penalty <= 0:
            raise UserError(
                f"rubric=global_weighted: max_criteria={max_criteria} must be 1 to {MAX_CRITERIA}, penalties and "
                f"own_penalty={own_penalty:g} numbers above 0, and folds={folds} 2 or more"
            )
        self.store, self.preferences = RubricStore(store), preferences
        self._seed, self._pairs, self._candidates, self._criteria = seed, pairs, max_candidates, max_criteria
        self._role, self.own, self._own_penalty = explaining(role), own, own_penalty
        self._given = _criteria_of(candidates) if candidates else []
        self._penalties, self._folds = list(penalties), folds
        self._rubric: Rubric | None = None

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`. The first call makes the rubric, or finds it in the store.

        Raises:
            UserError: there are no pairs, or no criterion tells what people prefer.
        """
        if self._rubric is None:
            self._rubric = self._made(judge)
        if self.own is None or all(criterion.question != OWN.question for criterion in self._rubric.criteria):
            return [self._rubric] * len(prompts)
        self.own.update = self.update
        found = self.own.rubrics(prompts, judge)
        self.learned |= self.own.learned
        return [own and _with_own(own, self._rubric) for own in found]

    @property
    def cost(self) -> Cost:
        return self.counts.cost + (self.own.cost if self.own else Cost())

    def _made(self, judge: Judge) -> Rubric:
        order = draws(Purpose.SAMPLE, self._seed, "pairs of a weighted rubric").permutation(len(self.preferences))
        decided = (pair for pair in self.preferences.open(map(int, order)) if pair.better in DECIDED)
        pairs = [pair for _, pair in zip(range(self._pairs), decided, strict=False)]
        if not pairs:
            raise UserError("rubric=global_weighted: there are no preference pairs that are no ties")
        self.learned |= pictures(pairs)
        settings = (len(self._given) or self._candidates, self._criteria, self._penalties, self._folds)
        own = self.own.rubrics([pair.prompt for pair in pairs], judge) if self.own else []
        given = {"criteria_of_file": criteria_digest(Rubric(tuple(self._given), {}))} if self._given else {}
        identity = {
            **(given or written_by(judge.writer, self._role)),
            "judge": judge.name,
            "judge_revision": judge.revision,
            **asked_as("judge", judge),
            "settings": "candidates={} criteria={} penalties={} folds={}".format(*settings),
            "pairs": told([pairs]),
            **({"own": f"{_hash(own)} penalty={self._own_penalty:g}"} if own else {}),
        }
        if (stored := self.store.get(identity)) is not None:
            if stored.rubric is None:
                raise UserError(self._nothing(identity))
            return stored.rubric
        criteria, whole = (dict.fromkeys(self._given, 0), True) if self._given else self._drafted(judge, pairs)
        fit, checked = self._weighed(judge, pairs, list(criteria), own)
        criteria |= {OWN: len(pairs)} if own else {}
        rubric, history = self._rubric_of(criteria, fit, {**identity, "checked_pairs": str(checked)})
        if whole and checked == len(pairs):
            self.store.put(identity, rubric, [history])
        self.counts += Counts(rubrics=int(rubric is not None), without=int(rubric is None))
        if rubric is None:
            raise UserError(self._nothing(identity))
        return rubric

    def _rubric_of(
        self, criteria: Mapping[Criterion, int], fit: Fit, origin: Mapping[str, str]
    ) -> tuple[Rubric | None, dict[str, Any]]:
        """What is left with a weight, and all that was weighed."""
        ranked = sorted(zip(criteria, fit.weights.tolist(), strict=True), key=lambda one: -one[1])
        kept = [
            replace(criterion, weight=round(min(weight, MAX_WEIGHT), DIGITS))
            for criterion, weight in ranked[: self._criteria]
            if round(weight, DIGITS) > 0
        ]
        found = {
            "candidates": str(len(criteria)),
            "penalty": f"{fit.penalty:g}",
            "crossvalidated_accuracy": f"{fit.accuracy:.3f}",
        }
        weights = [{"question": c.question, "drafts": criteria[c], "weight": weight} for c, weight in ranked]
        rubric = Rubric(tuple(kept), {**origin, **found}) if kept else None
        return rubric, {**found, "crossvalidated_loss": fit.loss, "weights": weights}

    def _drafted(self, judge: Judge, pairs: Sequence[Preference]) -> tuple[dict[Criterion, int], bool]:
        """The candidates, each with how many drafts have it, and whether every draft was heard."""
        replies, cost = judge.writer.write_from_pairs(pairs, role=self._role)
        found: list[Criterion] = []
        unheard = malformed = 0
        for pair, reply in zip(pairs, replies, strict=True):
            try:
                if isinstance(reply, NoAnswer):
                    raise reply
                found += parse_rubric(reply, {}).criteria
            except (RubricError, NoAnswer) as error:
                silent = error.reason not in OF_THE_REPLY
                unheard += silent
                malformed += not silent
                log.warning("no criteria from pair %s: %s", pair.id, error)
        written = len(pairs) - unheard - malformed
        self.counts += Counts(drafts=len(pairs), written=written, unanswered=unheard, malformed=malformed, cost=cost)
        if not found:
            raise UserError(
                f"rubric=global_weighted: none of the {len(pairs)} drafts of judge {judge.name!r} is a rubric (see the log). "
                "Nothing was stored: the same command tries again."
            )
        counts = distinct(found)
        return {c: counts[c] for c in most_agreed(tuple(counts), counts, self._candidates)}, not unheard

    def _weighed(
        self, judge: Judge, pairs: Sequence[Preference], criteria: Sequence[Criterion], own: Sequence[Rubric | None]
    ) -> tuple[Fit, int]:
        """The weights, that of the prompt's own criteria last, and on how many pairs every criterion could be checked."""
        asked = [
            (pair.prompt, image, [c.question for c in (*criteria, *(mine.criteria if mine else ()))])
            for pair, mine in zip(pairs, own or [None] * len(pairs), strict=True)
            for image in ((pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a))
        ]
        flat = [(prompt, image, question) for prompt, image, questions in asked for question in questions]
        answers = judge.check([p for p, _, _ in flat], [i for _, i, _ in flat], [q for _, _, q in flat])
        self.counts += Counts(cost=sum((answer.cost for answer in answers), Cost()))
        found = iter(np.nan if answer.value is None else answer.value for answer in answers)
        rows = [np.array([next(found) for _ in questions]) for _, _, questions in asked]
        count = len(criteria)
        if own:  # nothing is known of a pair whose prompt has none
            rows = [np.append(row[:count], row[count:].mean() if len(row) > count else np.nan) for row in rows]
        differences_NK = np.stack(rows[::2]) - np.stack(rows[1::2])
        known = ~np.isnan(differences_NK).any(1)
        if not known.any():
            why = next((answer.reason for answer in answers if answer.value is None), "no prompt has criteria of its own")
            raise UserError(f"rubric=global_weighted: judge {judge.name!r} could check no pair whole: {why}")
        if not known.all():
            log.warning(
                "%d of %d pairs could not be checked whole: they have no say in the weights", (~known).sum(), len(known)
            )
        groups = [pair.prompt.text for pair, there in zip(pairs, known, strict=True) if there]
        factors = np.array([1.0] * len(criteria) + [self._own_penalty] * bool(own))
        return cross_validated(differences_NK[known], groups, self._penalties, self._folds, factors), int(known.sum())

    def _nothing(self, identity: dict[str, str]) -> str:
        return (
            f"rubric=global_weighted: no criterion tells what people prefer (the weights are all 0, as in "
            f"{self.store.path(identity)}). Try more pairs, smaller penalties, or another judge."
        )


def _with_own(own: Rubric, for_any: Rubric) -> Rubric:
    """A prompt's own criteria, with the weight that is theirs together, and those for any prompt."""
    theirs = next(criterion.weight for criterion in for_any.criteria if criterion.question == OWN.question)
    total = sum(criterion.weight for criterion in own.criteria)
    mine = [replace(criterion, weight=theirs * criterion.weight / total) for criterion in own.criteria]
    others = [criterion for criterion in for_any.criteria if criterion.question != OWN.question]
    asked: dict[str, Criterion] = {}
    for criterion in (*mine, *others):  # one that is in both is asked once, with the weights of both
        before = asked.setdefault(same_words(criterion.question), criterion)
        if before is not criterion:
            asked[same_words(criterion.question)] = replace(before, weight=before.weight + criterion.weight)
    return Rubric(tuple(asked.values()), {**own.provenance, **for_any.provenance})


def _criteria_of(named: str) -> list[Criterion]:
    """All criteria of a file or folder of rubrics, each once."""
    files = rubric_files("candidates", named)
    return list(distinct([criterion for file in files for rubric in read_rubrics(file) for criterion in rubric.criteria]))


def _hash(rubrics: Sequence[Rubric | None]) -> str:
    asked = [[(c.question, c.weight) for c in rubric.criteria] if rubric else None for rubric in rubrics]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
