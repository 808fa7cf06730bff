"""Rubrics by the auto-rubric pipeline, from preference pairs: one for each prompt, or one for all."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from arr_rpo.data.preferences.base import Pairs, PairsOfPrompts
from arr_rpo.judge.asking import digest
from arr_rpo.judge.base import Explaining, Judge
from arr_rpo.noise import Purpose, draws
from arr_rpo.rubric.auto_rubric import Settings, Task, auto_rubric, describe
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.drafts import Made
from arr_rpo.rubric.sources import RubricSource, Source, asked_as, content, written_by
from arr_rpo.rubric.store import RubricStore
from arr_rpo.types import Cost, Outcome, Preference, Prompt, Rubric, UserError

log = logging.getLogger(__name__)

DECIDED = (Outcome.A, Outcome.B)
ROLES = ("refine", "structure", "compare_rubric")

NO_TEST = "no pair is left to test on that shares no picture with those written from"


class PerPromptRefined(Source):
    """A rubric of its own for each prompt: written from pairs of it, verified, refined, structured, stored, and reused.

    Args:
        writing_pairs, heldout_pairs, mending_pairs: how many pairs of a prompt are written from, how many more only test, and
            how many further ones a draft that missed them is mended by. Where pairs are few, those to mend by go first, then
            those to write from, down to one.
        role: in which the writer is asked (`judge.base.Explaining`).
        fallback: where the rubrics of other prompts come from: those without pairs, and those of which all was discarded.
    """

    def __init__(
        self,
        *,
        store: str,
        preferences: PairsOfPrompts,
        seed: int,
        writing_pairs: int,
        heldout_pairs: int,
        mending_pairs: int,
        settings: Settings,
        fallback: RubricSource | None,
        role: Explaining = "write_pair",  # a run of before does not know it
    ) -> None:
        super().__init__()
        self.store, self.preferences, self.settings, self.fallback = RubricStore(store), preferences, settings, fallback
        self._seed, self._writing, self._heldout, self._mending = seed, writing_pairs, heldout_pairs, mending_pairs
        self._role = explaining(role)
        self._known: dict[tuple[tuple[str, str], ...], Rubric | None] = {}
        self._open: set[tuple[tuple[str, str], ...]] = set()

    @property
    def cost(self) -> Cost:
        return self.counts.cost + (self.fallback.cost if self.fallback else Cost())

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`."""
        keys = [tuple(content(prompt).items()) for prompt in prompts]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._known}
        self._make(new, judge)
        found = [self._known[key] for key in keys]
        for key in self._open:  # to be tried again
            self._known.pop(key)
        self._open.clear()
        rest = [i for i, rubric in enumerate(found) if rubric is None]
        if self.fallback and rest:
            self.fallback.update = self.update
            for i, rubric in zip(rest, self.fallback.rubrics([prompts[i] for i in rest], judge), strict=True):
                found[i] = rubric
            self.learned |= self.fallback.learned
        return found

    def _make(self, prompts: Mapping[tuple[tuple[str, str], ...], Prompt], judge: Judge) -> None:
        tasks: dict[tuple[tuple[str, str], ...], Task] = {}
        for key, prompt in prompts.items():
            pairs = self.preferences.for_prompt(prompt, self._writing + self._heldout + self._mending, self._seed)
            writing, heldout, mending = split(pairs, self._writing, self._heldout, self._mending)
            if not writing or (self.settings.rule.min_heldout > 0 and not heldout):
                self._without(key, prompt, "no pairs to write from" if not writing else NO_TEST)
                continue
            made_from = identity(judge, self.settings, self._role, (writing, heldout, mending), content(prompt))
            task = Task(writing, heldout, self._role, made_from, mending)
            if (stored := self.store.get(task.identity)) is None:
                tasks[key] = task
            elif stored.rubric is None:
                self._without(key, prompt, "all drafts were discarded, as stored")
            else:
                self._known[key] = stored.rubric
                self.learned |= pictures((*writing, *heldout, *mending))
        if not tasks:
            return
        made, report = auto_rubric(judge, list(tasks.values()), self.settings)
        self.counts += report
        for (key, task), result in zip(tasks.items(), made, strict=True):
            keep(self.store, task, result)
            if result.unanswered:
                self._open.add(key)
            if result.rubric is None:
                why = "the judge could not be heard" if result.unanswered else "all drafts were discarded"
                self._without(key, prompts[key], why, counted=True)
            self._known[key] = result.rubric
            if result.rubric is not None:
                self.learned |= pictures((*task.writing, *task.heldout, *task.mending))

    def _without(self, key: tuple[tuple[str, str], ...], prompt: Prompt, why: str, counted: bool = False) -> None:
        self._known[key] = None
        self.counts += Counts(without=int(not counted))
        log.info("no refined rubric for %r: %s", prompt.text, why)


class Global(Source):
    """One rubric for any prompt: written from pairs of many prompts, verified on pairs of others, refined, structured, stored.

    Args:
        preferences: one pair of each prompt is taken, in an order that the seed decides.
        writing_pairs, heldout_pairs: how many pairs are written from, and how many more only test.
        role: in which the writer is asked (`judge.base.Explaining`).
    """

    def __init__(
        self,
        *,
        store: str,
        preferences: Pairs,
        seed: int,
        writing_pairs: int,
        heldout_pairs: int,
        settings: Settings,
        role: Explaining = "write_general",  # a run of before does not know it
    ) -> None:
        super().__init__()
        self.store, self.preferences, self.settings = RubricStore(store), preferences, settings
        self._seed, self._writing, self._heldout, self._role = seed, writing_pairs, heldout_pairs, explaining(role)
        self._rubric: Rubric | None = None

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`. The first call makes the rubric, or finds it in the store.

        Raises:
            UserError: nothing that was written verified.
        """
        if self._rubric is None:
            self._rubric = self._make(judge)
        return [self._rubric] * len(prompts)

    def _make(self, judge: Judge) -> Rubric:
        writing, heldout, _ = split(self._pairs(), self._writing, self._heldout)
        self.learned |= pictures((*writing, *heldout))
        if not writing:
            raise UserError("rubric=global: there are no preference pairs that are no ties")
        if self.settings.rule.min_heldout > 0 and not heldout:
            raise UserError(f"rubric=global: {NO_TEST}. Give more pairs, or settings.rule.min_heldout=0")
        task = Task(writing, heldout, self._role, identity(judge, self.settings, self._role, (writing, heldout), {}))
        stored = self.store.get(task.identity)
        if stored is None:
            [made], report = auto_rubric(judge, [task], self.settings)
            self.counts += report
            keep(self.store, task, made)
            rubric = made.rubric
            if rubric is None and (made.unread or made.unanswered):
                why = "came as whole JSON (judge.max_rubric_tokens)" if made.unread else "was answered"
                raise UserError(
                    f"rubric=global: too few of the {len(writing)} drafts of judge {judge.name!r} {why}; the log names "
                    "them. Nothing was stored: the same command tries again."
                )
        else:
            rubric = stored.rubric
        if rubric is None:
            raise UserError(
                f"rubric=global: none of the {len(writing)} drafts of judge {judge.name!r} verified (their history is in "
                f"{self.store.path(task.identity)}). Try more writing_pairs, a lower settings.rule.min_heldout, "
                "or another judge."
            )
        return rubric

    def _pairs(self) -> list[Preference]:
        order = draws(Purpose.SAMPLE, self._seed, "pairs of a global rubric").permutation(len(self.preferences))
        pairs: dict[tuple[tuple[str, str], ...], Preference] = {}
        for pair in self.preferences.open(map(int, order)):
            if pair.better in DECIDED:
                pairs.setdefault(tuple(content(pair.prompt).items()), pair)
            if len(pairs) == self._writing + self._heldout:
                break
        return list(pairs.values())


def explaining(role: str) -> Explaining:
    """The role of a setting.

    Raises:
        UserError: it is none in which a writer explains a pair.
    """
    for known in get_args(Explaining):
        if role == known:
            return known  # type: ignore[no-any-return]
    raise UserError(f"rubric.role={role} is none of {', '.join(get_args(Explaining))}")


def split(pairs: Sequence[Preference], writing: int, heldout: int, mending: int = 0) -> tuple[tuple[Preference, ...], ...]:
    """The pairs to write from, those held out, and those to mend by. What is held out shares no image with the others. Ties
    teach nothing.

    Where pairs are few, one at least is written from.
    """
    decided = [pair for pair in pairs if pair.better in DECIDED]
    written = decided[: min(writing, max(1, len(decided) - heldout))]
    others = _without_images_of(written, decided[len(written) :])
    tests, rest = others[:heldout], others[heldout:]
    return tuple(written), tuple(tests), tuple(_without_images_of(tests, rest)[:mending])


def _without_images_of(seen: Sequence[Preference], pairs: Sequence[Preference]) -> list[Preference]:
    shown = {digest(image) for pair in seen for image in (pair.a, pair.b)}
    return [pair for pair in pairs if shown.isdisjoint((digest(pair.a), digest(pair.b)))]


def identity(
    judge: Judge,
    settings: Settings,
    role: str,
    pairs: Sequence[Sequence[Preference]],
    more: Mapping[str, str],
) -> dict[str, str]:
    """What a refined rubric is made from and how: another judge, text, setting, pair or label makes another."""
    return {
        **written_by(judge.writer, role, *ROLES),
        "judge": judge.name,
        "judge_revision": judge.revision,
        **asked_as("judge", judge),
        "settings": describe(settings),
        "pairs": told(pairs),
        **more,
    }


def pictures(pairs: Iterable[Preference]) -> frozenset[frozenset[str]]:
    """See `RubricSource.learned`."""
    return frozenset(frozenset((digest(pair.a), digest(pair.b))) for pair in pairs)


def told(pairs: Sequence[Sequence[Preference]]) -> str:
    """A hash of pairs with their labels."""
    said = [[(p.prompt.text, digest(p.a), digest(p.b), str(p.better)) for p in some] for some in pairs]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def keep(store: RubricStore, task: Task, made: Made) -> None:
    """Stores what a task came to, unless another try may come to more."""
    if not made.unanswered and not made.unread:
        store.put(task.identity, made.rubric, made.history)
