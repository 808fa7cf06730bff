"""A finished run of study=hacking and its pictures: where `baseline`, `criteria`, `decompose` and `other_pairs` begin."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL.Image import Image

from arr_rpo.commands.runs.finished import finished_run
from arr_rpo.evaluation.images import pictures
from arr_rpo.measure.base import Own
from arr_rpo.measure.win_rate import WinRate
from arr_rpo.run.layout import POLICY
from arr_rpo.shapes.annotators.measure import AnnotatorOracle
from arr_rpo.shapes.annotators.people import annotator
from arr_rpo.types import Prompt, UserError
from experiments import kept
from experiments.hacking.courses import arm_of

BATCH = 64


class Row(Protocol):
    """A frozen dataclass of texts and numbers. key: which run, and what of it."""

    @property
    def key(self) -> Hashable: ...


T = TypeVar("T", bound=Row)


@dataclass(frozen=True)
class Shown:
    """Two pictures a prompt: of the trained policy and of the base, or, of a base alone, of two noises."""

    prompts: Sequence[Prompt]
    images: Sequence[Image]
    base: Sequence[Image]

    @property
    def pairs(self) -> list[tuple[Image, Image]]:
        return list(zip(self.images, self.base, strict=True))


def worths(annotator: str, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[float]:
    """As `measure=annotator` has them, 0 to 1."""
    return [float(value.value or 0.0) for value in AnnotatorOracle(annotator=annotator).values(prompts, images, None)]


class Finished:
    """config: the run's, resolved. who: its annotator. heldout, training: its prompts."""

    def __init__(self, run: Path) -> None:
        self.config = finished_run(run)
        self.arm = arm_of(str(self.config.study.arm))
        self.who = annotator(str(self.config.study.annotator))
        data = instantiate(self.config.data)
        self.heldout, self.training = list(data.heldout), list(data.train)
        self._policy = instantiate(self.config.policy)
        self._policy.load_trained(run / POLICY)
        self._seed = int(self.config.callbacks.heldout.seed)

    def shown(self, prompts: Sequence[Prompt], noise: int = 0) -> Shown:
        """From the noise of the measurements, or from another one."""
        images = pictures(self._policy, prompts, self._seed + noise, BATCH)
        return Shown(prompts, images, self._base(prompts, self._seed + noise))

    def untrained(self) -> Shown:
        return Shown(self.heldout, *(self._base(self.heldout, self._seed + more) for more in (0, 1)))

    def _base(self, prompts: Sequence[Prompt], seed: int) -> Sequence[Image]:
        with self._policy.adapter.reference():
            return pictures(self._policy, prompts, seed, BATCH)

    def worth(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[float]:
        """To the annotator, 0 to 1."""
        return worths(self.who.name, prompts, images)


def preferred(config: DictConfig, shown: Shown) -> list[float | None]:
    """By the reward of a config of study=hacking, as `measure=win_rate` has it: 1 where it prefers the first of two pictures, 0
    the second, between them where neither; None where its verdict failed.

    Raises:
        UserError: the config has no such measure, or no reward.
    """
    seat, measure = config.callbacks.get("rubric_reward"), instantiate(config.measure.get("win_rate"))
    if seat is None or not isinstance(measure, WinRate):
        raise UserError(f"arm={config.study.arm}: no run of study=hacking, as it has no measure=win_rate, or no reward")
    measure.begin(Own(instantiate(seat.judge), instantiate(seat.reward), instantiate(seat.rubric)))
    measure.prepare(shown.prompts)
    return [value.value for value in measure.values(shown.prompts, shown.images, shown.base)]


def each(places: Sequence[Path], name: str, kind: type[T], find: Callable[[Path], Iterable[T]]) -> list[T]:
    """Rows of each run, kept in its folder as `name` and not looked for again, and those of a CSV file that was kept elsewhere;
    of two of one `key` the later one, as of a file and of a run.

    Raises:
        UserError: two runs have rows of one key, such as two seeds.
    """
    rows: dict[Hashable, T] = {}
    runs: dict[Hashable, Path] = {}
    for place in places:
        file = place / name if place.suffix != ".csv" else place
        if not file.is_file():
            kept.write(find(place), kind, file)
            print(place.name, flush=True)
        found = {row.key: row for row in kept.read(kind, file)}
        for key in found if file != place else ():
            if runs.setdefault(key, place) != place:
                raise UserError(f"{runs[key].name} and {place.name} have rows of one kind ({key}): give one of them")
        rows |= found
    return [*rows.values()]


def look(
    about: str | None, name: str, kind: type[T], find: Callable[[Path], Iterable[T]], tables: Callable[[Sequence[T]], str]
) -> None:
    """The command of a script that looks at finished runs, or reads what was kept of them: prints tables of what `each` has."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path, help="folders of finished runs, or CSV files that were kept")
    parser.add_argument("--keep", type=Path, help="a CSV file for all that the tables are made of")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = each(given.places, name, kind, find)
    if given.keep:
        kept.write(rows, kind, given.keep)
    print(tables(rows))
