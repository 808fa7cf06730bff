"""The prompts of each update, decided by (seed, update) alone, so that a resumed run sees what an unbroken one would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Subset

from arr_rpo.data.prompts import read_prompts
from arr_rpo.noise import Purpose, draws
from arr_rpo.types import Prompt, UserError


class Updates(Dataset[tuple[int, tuple[Prompt, ...]]]):
    """Item i: (i, the prompts of update i). Prompts are dealt in shuffled passes over the file, without repeats in a pass."""

    def __init__(self, prompts: Sequence[Prompt], prompts_per_update: int, updates: int, seed: int) -> None:
        self.prompts, self.size, self.updates, self.seed = prompts, prompts_per_update, updates, seed

    def __len__(self) -> int:
        return self.updates

    def __getitem__(self, index: int) -> tuple[int, tuple[Prompt, ...]]:
        positions = range(index * self.size, (index + 1) * self.size)
        return index, tuple(self.prompts[self._deal(position)] for position in positions)

    def _deal(self, position: int) -> int:
        cycle, place = divmod(position, len(self.prompts))
        return int(draws(Purpose.DEAL, self.seed, cycle).permutation(len(self.prompts))[place])


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


def _as_it_is(item: Any) -> Any:
    return item


class PromptDataModule(pl.LightningDataModule):
    """Prompts to learn on (`train`) and to be measured on (`heldout`, `unseen`).

    An update has `candidates_per_update` pictures, in groups of `group_size`: runs of the same number of updates draw the same
    number of pictures, whatever their algorithm.
    """

    def __init__(
        self,
        *,
        train: str,
        heldout: str,
        unseen: str | None,
        candidates_per_update: int,
        group_size: int,
        updates: int,
        seed: int,
    ) -> None:
        super().__init__()
        prompts_per_update, left = divmod(candidates_per_update, group_size)
        if left or not prompts_per_update:
            raise UserError(
                f"data.candidates_per_update={candidates_per_update} does not divide into groups of "
                f"algorithm.group_size={group_size}: take a multiple of it"
            )
        self.train = read_prompts(train)
        self.heldout = read_prompts(heldout)
        self.unseen: Sequence[Prompt] = read_prompts(unseen) if unseen else ()
        if overlap := self.heldout.shared_with(self.train):
            raise UserError(f"{len(overlap)} held-out prompts are also trained on, {overlap[0]!r} for one")
        self._updates = Updates(self.train, prompts_per_update, updates, seed)

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(self._updates)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Prompts are text and pictures: nothing to move."""
        return batch
