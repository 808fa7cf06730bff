"""Controls: rubrics that are wrong on purpose or not whole, and labels that say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from arr_rpo.data.preferences.base import AnyPairs
from arr_rpo.data.prompts import AS_IT_IS, read_prompts
from arr_rpo.judge.base import Judge
from arr_rpo.noise import Purpose, draws
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.sources import RubricSource
from arr_rpo.types import Cost, Preference, Prompt, Rubric, UserError


class Wrapper:
    """A source made from another, whose counts are its own."""

    def __init__(self, source: RubricSource) -> None:
        self.source = source

    @property
    def counts(self) -> Counts:
        return self.source.counts

    @property
    def cost(self) -> Cost:
        return self.source.cost

    @property
    def learned(self) -> Set[frozenset[str]]:
        return self.source.learned

    @property
    def update(self) -> int | None:
        return self.source.update

    @update.setter
    def update(self, update: int | None) -> None:
        self.source.update = update


class Shuffled(Wrapper):
    """The rubric of another prompt, and never one that asks what the prompt's own would ask.

    Which one depends on the prompt and the seed alone. What a gain under `source` owes to the rubric's content, and not to a
    list of questions being there, is the difference to this.

    Args:
        prompts: file or embedded split that the other prompts are taken from.
        columns, image_root: how it is read, see `data.prompts.Reading`; None reads it as usual.
    """

    def __init__(
        self,
        *,
        source: RubricSource,
        prompts: str,
        columns: Mapping[str, str | None] | None,
        image_root: str | None,
        seed: int,
    ) -> None:
        super().__init__(source)
        how = replace(AS_IT_IS, columns=columns or {}, image_root=image_root)
        self._name, self._pool, self._seed = prompts, read_prompts(prompts, how, "train"), seed

    @property
    def learned(self) -> Set[frozenset[str]]:
        """Of no pair of the prompt: its rubric is another's."""
        return frozenset()

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`. A prompt whose own rubric fails has none here either.

        Raises:
            UserError: all prompts have one rubric.
        """
        own = self.source.rubrics(prompts, judge)
        found: list[Rubric | None] = [None] * len(prompts)
        open_rows = [i for i, rubric in enumerate(own) if rubric is not None]
        candidates = [self._others(prompt) for prompt in prompts]
        while open_rows:
            others = [next(candidates[i], None) for i in open_rows]
            if None in others:
                raise UserError(
                    f"rubric=shuffled: no prompt of {self._name} has another rubric than {prompts[open_rows[0]].text!r}. "
                    "Shuffle a source with a rubric for each prompt, over prompts that differ."
                )
            offered = self.source.rubrics([other for other in others if other], judge)
            for i, rubric in zip(open_rows, offered, strict=True):
                if rubric is not None and _asked(rubric) != _asked(own[i]):
                    found[i] = replace(rubric, provenance={**rubric.provenance, "shuffled_to": prompts[i].text})
            open_rows = [i for i in open_rows if found[i] is None]
        return found

    def _others(self, prompt: Prompt) -> Iterator[Prompt]:
        for place in draws(Purpose.CONTROL, self._seed, "shuffled", prompt.text).permutation(len(self._pool)):
            if self._pool[int(place)].text != prompt.text:
                yield self._pool[int(place)]


class Dropout(Wrapper):
    """Each criterion of a rubric left out with probability p, one at least kept.

    redraw: which ones are left out is drawn anew each update, by the prompt, the update and the seed alone; outside of training
        rubrics are whole then. Else the prompt and the seed decide, once and for all.
    """

    def __init__(self, *, source: RubricSource, p: float, seed: int, redraw: bool = False) -> None:
        super().__init__(source)
        if not 0 <= p <= 1:
            raise UserError(f"rubric.p={p} must be a probability")
        self.p, self._seed, self._redraw = p, seed, redraw

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`."""
        whole = self.source.rubrics(prompts, judge)
        if self._redraw and self.update is None:
            return whole
        return [rubric and self._thinned(rubric, prompt) for prompt, rubric in zip(prompts, whole, strict=True)]

    def _thinned(self, rubric: Rubric, prompt: Prompt) -> Rubric:
        when = (str(self.update),) if self._redraw else ()
        rng = draws(Purpose.CONTROL, self._seed, "dropout", prompt.text, *when)
        kept = rng.random(len(rubric.criteria)) >= self.p
        kept[int(rng.integers(len(kept)))] |= not kept.any()
        criteria = tuple(c for c, stays in zip(rubric.criteria, kept, strict=True) if stays)
        return Rubric(criteria, {**rubric.provenance, "dropout": str(self.p), "dropout_seed": str(self._seed)})


class Rotation(Wrapper):
    """A rubric's criteria in disjoint parts, which take turns by update; outside of training rubrics are whole.

    Criteria are dealt out in an order that the seed and their questions decide, so that one that many prompts share is often in
    the same part. A rubric of fewer criteria than `parts` has as many parts as criteria.
    """

    def __init__(self, *, source: RubricSource, parts: int, seed: int) -> None:
        super().__init__(source)
        if parts < 2:
            raise UserError(f"rubric.parts={parts}: there must be 2 or more to take turns")
        self.parts, self._seed = parts, seed

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
        """See `RubricSource`."""
        whole = self.source.rubrics(prompts, judge)
        if (update := self.update) is None:
            return whole
        return [rubric and self._part(rubric, update) for rubric in whole]

    def _part(self, rubric: Rubric, update: int) -> Rubric:
        parts = min(self.parts, len(rubric.criteria))
        dealt = sorted(rubric.criteria, key=lambda c: float(draws(Purpose.CONTROL, self._seed, "dealt", c.question).random()))
        turn = set(dealt[update % parts :: parts])
        criteria = tuple(criterion for criterion in rubric.criteria if criterion in turn)
        return Rubric(criteria, {**rubric.provenance, "part": f"{update % parts + 1} of {parts}"})


class ShuffledLabels:
    """Preferences whose labels say nothing: each is exchanged or not by a coin. No rubric written from them should verify."""

    def __init__(self, *, preferences: AnyPairs, seed: int) -> None:
        self._preferences, self._seed = preferences, seed

    def __len__(self) -> int:
        return len(self._preferences)

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        """See `Pairs`: what `rubric=global` is written from."""
        for pair in self._preferences.open(indices):
            yield self._labelled(pair, bool(draws(Purpose.CONTROL, self._seed, "label", pair.id).random() < 0.5))

    def for_prompt(self, prompt: Prompt, n: int, seed: int) -> list[Preference]:
        """See `PairsOfPrompts`."""
        pairs = self._preferences.for_prompt(prompt, n, seed)
        coins = draws(Purpose.CONTROL, self._seed, "labels", prompt.text).random(len(pairs)) < 0.5
        return [self._labelled(pair, bool(coin)) for pair, coin in zip(pairs, coins, strict=True)]

    @staticmethod
    def _labelled(pair: Preference, exchange: bool) -> Preference:
        return replace(pair, better=pair.better.swapped) if exchange else pair


def _asked(rubric: Rubric | None) -> frozenset[str]:
    return frozenset(c.question for c in rubric.criteria) if rubric else frozenset()
