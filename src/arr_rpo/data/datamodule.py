"""The prompts of each update, decided by (seed, update) alone, so that a resumed run sees what an unbroken one would."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from arr_rpo.data.prompts import Prompts, Reading, read_prompts
from arr_rpo.noise import Purpose, draws
from arr_rpo.types import Prompt, UserError

log = logging.getLogger(__name__)


class Updates(Dataset[tuple[int, tuple[Prompt, ...]]]):
    """Item i: (i, the prompts of update i). Prompts are dealt in shuffled passes over the file, without repeats in a pass.

    choose_from: how many times as many are dealt as take part; those take part whose groups said nothing the fewest times in
        a row (`silent`, by the prompt's id), of equal ones those that were dealt first. 1 takes all.
    """

    def __init__(self, prompts: Prompts, prompts_per_update: int, updates: int, seed: int, choose_from: int = 1) -> None:
        self.prompts, self.size, self.updates, self.seed = prompts, prompts_per_update, updates, seed
        self.choose_from = choose_from
        self.silent: dict[str, int] = {}

    def __len__(self) -> int:
        return self.updates

    def __getitem__(self, index: int) -> tuple[int, tuple[Prompt, ...]]:
        dealt = self.size * self.choose_from
        rows = [self._deal(position) for position in range(index * dealt, (index + 1) * dealt)]
        if self.choose_from > 1:
            distinct = dict.fromkeys(rows)  # a small file is dealt several times
            rows = sorted(distinct, key=lambda row: self.silent.get(self.prompts.rows[row].id, 0)) + rows
        return index, tuple(self.prompts[row] for row in rows[: self.size])

    def _deal(self, position: int) -> int:
        cycle, place = divmod(position, len(self.prompts))
        return int(_order(self.seed, cycle, len(self.prompts))[place])


@functools.lru_cache(maxsize=2)  # an update may end one pass and begin the next
def _order(seed: int, cycle: int, size: int) -> NDArray[np.int64]:
    return draws(Purpose.DEAL, seed, cycle).permutation(size)


class ResumableLoader(DataLoader[Any]):
    """Starts at the first update that is not done, which Lightning keeps in its checkpoints.

    workers: processes, forked, that prepare items; their order is the same.
    """

    def __init__(self, dataset: Dataset[Any], workers: int = 0) -> None:
        super().__init__(dataset, batch_size=None)
        self._workers = workers
        self._start = 0
        self._taken = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        start, self._start = self._start, 0
        self._taken = start
        rest = Subset(self.dataset, range(start, len(self.dataset)))  # type: ignore[arg-type]
        how = "fork" if self._workers else None  # what makes the items holds a model and tokenizer, which cannot be pickled
        prepared = DataLoader(
            rest, batch_size=None, num_workers=self._workers, collate_fn=_as_it_is, multiprocessing_context=how
        )
        for index, item in enumerate(prepared, start):
            self._taken = index + 1
            yield item

    def state_dict(self) -> dict[str, int]:
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._start = state["taken"]


def _apart(heldout: Prompts, train: Prompts, shared: str, split: str) -> Prompts:
    """The prompts of a split that are not trained on."""
    if shared not in ("refuse", "drop"):
        raise UserError(f"data.shared={shared}: choose refuse or drop")
    if not (overlap := heldout.shared_with(train)):
        return heldout
    told = f"{len(overlap)} prompts of data.{split} are also trained on, {overlap[0]!r} for one"
    if shared == "refuse":
        raise UserError(f"{told}. data.shared=drop leaves them out of data.{split}")
    left = heldout.without(train)
    if not left:
        raise UserError(f"{told}, and without them none are left")
    log.warning("%s: %d are left", told, len(left))
    return left


def _as_it_is(item: Any) -> Any:
    return item


class PromptDataModule(pl.LightningDataModule):
    """Prompts to learn on (`train`) and to be measured on (`heldout`, `unseen`).

    An update has `candidates_per_update` pictures, in groups of `group_size`: runs of the same number of updates draw the same
    number of pictures, whatever their algorithm.

    columns, image_root, min_side, max_side: see `data.prompts.Reading`.
    shared: what becomes of a held-out prompt that is also trained on: `refuse`, or `drop`, which leaves it out and counts it.
    choose_from: a curriculum, where it is above 1: of so many times as many prompts those take part whose candidates got
        different rewards of late. For each prompt that takes part the gradient is what it was; which prompts make up the mean
        changes, towards those that the policy neither always nor never does right.
    """

    def __init__(
        self,
        *,
        train: str,
        heldout: str,
        unseen: str | None,
        candidates_per_update: int,
        group_size: int,
        choose_from: int,
        updates: int,
        seed: int,
        columns: Mapping[str, str | None],
        image_root: str | None,
        min_side: int,
        max_side: int,
        shared: Literal["refuse", "drop"],
    ) -> None:
        super().__init__()
        if choose_from < 1:
            raise UserError(
                f"data.choose_from={choose_from}: 1 takes all prompts that are dealt, 2 the better half of them, ..."
            )
        self.prompts_per_update, left = divmod(candidates_per_update, group_size)
        if left or not self.prompts_per_update:
            raise UserError(
                f"data.candidates_per_update={candidates_per_update} does not divide into groups of "
                f"algorithm.group_size={group_size}: take a multiple of it"
            )
        how = Reading(columns, image_root, min_side, max_side)
        self.train = read_prompts(train, how, "train")
        self.heldout = _apart(read_prompts(heldout, how, "heldout"), self.train, shared, "heldout")
        self.unseen: Sequence[Prompt] = _apart(read_prompts(unseen, how), self.train, shared, "unseen") if unseen else ()
        self._updates = Updates(self.train, self.prompts_per_update, updates, seed, choose_from)

    def heard(self, prompts: Sequence[Prompt], silent: Sequence[bool | None]) -> None:
        """What an update came to: whether the candidates of each of its prompts got one and the same reward; None where fewer
        than two got any, which says nothing of the prompt."""
        counts = self._updates.silent
        for prompt, nothing in zip(prompts, silent, strict=True):
            if nothing is not None:
                counts[prompt.id] = counts.get(prompt.id, 0) + 1 if nothing else 0

    def state_dict(self) -> dict[str, Any]:
        return {"silent": dict(self._updates.silent)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._updates.silent = dict(state_dict["silent"])

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(self._updates)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Prompts are text and pictures: nothing to move."""
        return batch
