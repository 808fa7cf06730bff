"""One rubric for all prompts, with weights: what the criteria of many drafts are worth to those who labelled the pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from arr_rpo.data.preferences.base import Pairs
from arr_rpo.judge.base import Judge
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.reasons import OF_THE_REPLY
from arr_rpo.judge.rubric_reply import MAX_CRITERIA, MAX_WEIGHT, RubricError, parse_rubric
from arr_rpo.noise import Purpose, draws
from arr_rpo.rubric.auto_rubric import distinct, most_agreed
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.refined import DECIDED, told
from arr_rpo.rubric.sources import Source, written_by
from arr_rpo.rubric.store import RubricStore
from arr_rpo.rubric.weights import Fit, cross_validated
from arr_rpo.types import Cost, Criterion, Outcome, Preference, Prompt, Rubric, UserError

log = logging.getLogger(__name__)

DIGITS = 3  # of a weight; what rounds to 0 is dropped


class GlobalWeighted(Source):
    """One rubric for any prompt. A draft is written from each pair; the judge checks each criterion on the pictures of all
    pairs; the criteria's weights predict the labels (`weights.weigh`), and one of weight 0 is dropped (arXiv 2605.17602).

    Pairs on which a criterion could not be checked are left out of the regression, and nothing is stored then.

    Args:
        preferences: of which the first `pairs` are taken, ties aside, in an order that the seed decides.
        max_candidates: criteria that are checked, those that most drafts agree on; max_criteria: of the rubric, those of the
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
    ) -> None:
        super().__init__()
        if not 1 <= max_criteria <= MAX_CRITERIA or not penalties or min(penalties) <= 0 or folds < 2:
            raise UserError(
                f"rubric=global_weighted: max_criteria={max_criteria} must be 1 to {MAX_CRITERIA}, penalties numbers above 0, "
                f"and folds={folds} 2 or more"
            )
        self.store, self.preferences = RubricStore(store), preferences
        self._seed, self._pairs, self._candidates, self._criteria = seed, pairs, max_candidates, max_criteria
        self._penalties, self._folds = list(penalties), folds
        self._rubric: Rubric | None = None

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`. The first call makes the rubric, or finds it in the store.

        Raises:
            UserError: there are no pairs, or no criterion tells what people prefer.
        """
        if self._rubric is None:
            self._rubric = self._made(judge)
        return [self._rubric] * len(prompts)

    def _made(self, judge: Judge) -> Rubric:
        order = draws(Purpose.SAMPLE, self._seed, "pairs of a weighted rubric").permutation(len(self.preferences))
        decided = (pair for pair in self.preferences.open(map(int, order)) if pair.better in DECIDED)
        pairs = [pair for _, pair in zip(range(self._pairs), decided, strict=False)]
        if not pairs:
            raise UserError("rubric=global_weighted: there are no preference pairs that are no ties")
        settings = (self._candidates, self._criteria, self._penalties, self._folds)
        identity = {
            **written_by(judge.writer, "write_general"),
            "judge": judge.name,
            "judge_revision": judge.revision,
            "settings": "candidates={} criteria={} penalties={} folds={}".format(*settings),
            "pairs": told([pairs]),
        }
        if (stored := self.store.get(identity)) is not None:
            if stored.rubric is None:
                raise UserError(self._nothing(identity))
            return stored.rubric
        criteria, whole = self._drafted(judge, pairs)
        fit, checked = self._weighed(judge, pairs, list(criteria))
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
        replies, cost = judge.writer.write_from_pairs(pairs, general=True)
        found: list[Criterion] = []
        unheard = malformed = 0
        for pair, reply in zip(pairs, replies, strict=True):
            try:
                if isinstance(reply, NoAnswer):
                    raise reply
                found += parse_rubric(reply, {}).criteria
            except (RubricError, NoAnswer) as error:
                silent = isinstance(error, NoAnswer) and error.reason not in OF_THE_REPLY
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

    def _weighed(self, judge: Judge, pairs: Sequence[Preference], criteria: Sequence[Criterion]) -> tuple[Fit, int]:
        """The weights, and on how many pairs every criterion could be checked."""
        asked = [
            (pair.prompt, image, c.question)
            for pair in pairs
            for image in ((pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a))
            for c in criteria
        ]
        answers = judge.check([p for p, _, _ in asked], [i for _, i, _ in asked], [q for _, _, q in asked])
        self.counts += Counts(cost=sum((answer.cost for answer in answers), Cost()))
        yes = np.array([np.nan if a.value is None else a.value for a in answers]).reshape(len(pairs), 2, len(criteria))
        differences_NK = yes[:, 0] - yes[:, 1]
        known = ~np.isnan(differences_NK).any(1)
        if not known.any():
            failed = next(answer for answer in answers if answer.value is None)
            raise UserError(f"rubric=global_weighted: judge {judge.name!r} could check no pair whole: {failed.reason}")
        if not known.all():
            log.warning(
                "%d of %d pairs could not be checked whole: they have no say in the weights", (~known).sum(), len(known)
            )
        groups = [pair.prompt.text for pair, there in zip(pairs, known, strict=True) if there]
        return cross_validated(differences_NK[known], groups, self._penalties, self._folds), int(known.sum())

    def _nothing(self, identity: dict[str, str]) -> str:
        return (
            f"rubric=global_weighted: no criterion tells what people prefer (the weights are all 0, as in "
            f"{self.store.path(identity)}). Try more pairs, smaller penalties, or another judge."
        )
