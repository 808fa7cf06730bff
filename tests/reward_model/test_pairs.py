"""Which pairs a reward model learns from, in which order, and which stop it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from PIL import Image

from arr_rpo.reward_model.pairs import Target, apart, taken
from arr_rpo.reward_model.recipe import Batches
from arr_rpo.types import Outcome, Preference, Prompt, UserError

PICTURE = Image.new("RGB", (4, 4))


class Pairs:
    """Pairs 0 to n - 1, every third of which cannot be opened."""

    def __init__(self, n: int) -> None:
        self.n, self.opened = n, 0

    def __len__(self) -> int:
        return self.n

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        for index in indices:
            self.opened += 1
            if index % 3 != 2:
                better = (Outcome.A, Outcome.B, Outcome.TIE)[index % 2 if index < 8 else 2]
                yield Preference(str(index), Prompt(str(index), f"prompt {index % 4}"), PICTURE, PICTURE, better)


def test_pairs_are_taken_in_an_order_that_the_seed_decides() -> None:
    source = Pairs(30)
    some = [labelled for labelled, _ in taken(source, 6, seed=1)]
    assert source.opened < 30  # no more than are needed
    every = [labelled for labelled, _ in taken(Pairs(30), None, seed=1)]
    assert every[:6] == some
    assert len({one.index for one in every}) == len(every) == 20
    assert [one.index for one, _ in taken(Pairs(30), None, seed=2)] != [one.index for one in every]
    targets = {one.index: one.target for one in every}
    assert (targets[0], targets[1], targets[9]) == (1.0, 0.0, 0.5)
    assert all(one.text == f"prompt {one.index % 4}" for one in every)


def labelled(*targets: tuple[str, float]) -> list[Target]:
    return [Target(i, text, target) for i, (text, target) in enumerate(targets)]


def test_a_prompt_is_on_one_side() -> None:
    rows = labelled(("a", 1.0), ("b", 0.0), ("a", 0.0), ("c", 1.0), ("d", 1.0), ("b", 0.5), ("e", 1.0))
    assert apart(rows, 0.4) == ([3, 4, 6], [0, 1, 2, 5])  # a and b, of five
    assert apart(rows, 0.01) == ([1, 3, 4, 5, 6], [0, 2])  # one at least


@pytest.mark.parametrize(
    "rows", [labelled(("a", 1.0), ("a", 0.0)), labelled(("a", 1.0), ("b", 0.5)), labelled(("a", 0.5), ("b", 1.0)), []]
)
def test_too_little_to_learn_from(rows: list[Target]) -> None:
    with pytest.raises(UserError, match=r"wants pairs of two prompts at least"):
        apart(rows, 0.2)


def test_batches_are_passes_without_repeats() -> None:
    batches = Batches([3, 4, 5, 6, 7], steps=10, size=2, seed=0)
    seen = [row for step in range(10) for row in batches[step]]
    assert all(sorted(seen[i : i + 5]) == [3, 4, 5, 6, 7] for i in (0, 5, 10, 15))
    assert seen[:5] != seen[5:10]
    assert len(batches) == 10
    assert Counter(map(len, (batches[step] for step in range(10)))) == {2: 10}
    assert Batches([3, 4], steps=1, size=64, seed=0).size == 2
    assert batches[7] == Batches([3, 4, 5, 6, 7], steps=10, size=2, seed=0)[7]  # whatever was asked for before
