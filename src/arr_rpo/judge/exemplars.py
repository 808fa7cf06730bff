"""Labelled pairs of other prompts, shown to a judge before the pair that it is to judge (in-context examples)."""

from __future__ import annotations

from collections.abc import Sequence

from arr_rpo.data.preferences.base import Pairs
from arr_rpo.noise import Purpose, draws
from arr_rpo.types import Outcome, Preference, Prompt, UserError

DECIDED = (Outcome.A, Outcome.B)
SPARE = 4  # more than are shown, as one whose prompt is judged is not


class Exemplars:
    """The few pairs that a judge is shown with their labels, the baseline that ARR compares its rubrics with
    (arXiv 2605.08354).

    They are of other prompts than the one that is judged, and as many of them prefer A as prefer B, as far as there are.

    Args:
        count: how many are shown. seed: of their choice.
    """

    def __init__(self, *, preferences: Pairs, count: int, seed: int) -> None:
        if count < 1:
            raise UserError(f"judge.exemplars.count={count}: show one, or set judge.exemplars=null")
        self.count = count
        order = draws(Purpose.SAMPLE, seed, "exemplars").permutation(len(preferences))
        by_label: dict[Outcome, list[Preference]] = {label: [] for label in DECIDED}
        for pair in preferences.open(map(int, order)):
            if pair.better in by_label and len(by_label[pair.better]) < count + SPARE:
                by_label[pair.better].append(pair)
            if all(len(some) == count + SPARE for some in by_label.values()):
                break
        self._by_label = by_label

    def of(self, prompt: Prompt) -> Sequence[Preference]:
        """Those shown before a pair of this prompt.

        Raises:
            UserError: there are too few.
        """
        others = [[pair for pair in some if pair.prompt.text != prompt.text] for some in self._by_label.values()]
        longest = max(map(len, others))
        mixed = [some[i] for i in range(longest) for some in others if i < len(some)]
        if len(mixed) < self.count:
            raise UserError(
                f"judge.exemplars.count={self.count}: the preferences have {len(mixed)} decided pairs of other prompts than "
                f"{prompt.text!r}. Show fewer, or name larger preferences"
            )
        return mixed[: self.count]
