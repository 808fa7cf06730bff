"""Which arm a run belongs to: what its config says, or else how a multirun named its folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from arr_rpo.run.layout import overrides_in

ARM = "arm="
Key = TypeVar("Key")


@dataclass(frozen=True)
class Label:
    """What a run says of itself. experiment: the config's `name`. overrides: of its folder's name (`overrides_of`).
    arm: as the `study` block of its config has it, or ""."""

    experiment: str
    overrides: tuple[str, ...]
    arm: str = ""


def label(config: Mapping[str, Any], folder: Path, replicates: str = "") -> Label:
    """Of the run in a folder, with its config. replicates: an override that makes no arm (`replicate_of`)."""
    study = config.get("study")
    arm = study.get("arm") if isinstance(study, Mapping) else None
    overrides = [part for part in overrides_of(folder) if not (replicates and part.startswith(f"{replicates}="))]
    return Label(str(config.get("name", folder.name)), tuple(overrides), str(arm or ""))


def overrides_of(folder: Path) -> list[str]:
    """Folder "judge=random,seed=2" -> ["judge=random"]."""
    return [part for part in overrides_in(folder.name) if "=" in part and not part.startswith("seed=")]


def replicate_of(folder: Path, replicates: str) -> str:
    """Folder "arm=told,annotator=mia,seed=2", "annotator" -> "mia"; "" where the name has no such override."""
    found = (part.removeprefix(f"{replicates}=") for part in overrides_in(folder.name) if part.startswith(f"{replicates}="))
    return next(found, "") if replicates else ""


def seed_of(folder: Path) -> int | None:
    """Folder "judge=random,seed=2" -> 2."""
    seeds = [part.removeprefix("seed=") for part in overrides_in(folder.name) if part.startswith("seed=")]
    return int(seeds[0]) if seeds and seeds[0].isdigit() else None


def arm_names(labels: Mapping[Key, Label]) -> dict[Key, str]:
    """Names that tell the arms of some runs apart: the arm by name, where a run has one, or else its experiment; and the
    overrides in its folder's name but those that all runs share. The seed makes no arm, but the experiment does where an arm
    of one name was run in several."""
    shared = set.intersection(*(set(label.overrides) for label in labels.values())) if len(labels) > 1 else set()
    experiments: dict[str, set[str]] = defaultdict(set)
    for label in labels.values():
        experiments[_first(label)].add(label.experiment)
    several = any(len(some) > 1 for some in experiments.values())
    return {key: _name(label, shared, several) for key, label in labels.items()}


def _first(label: Label) -> str:
    named = [part.removeprefix(ARM) for part in label.overrides if part.startswith(ARM)]
    return label.arm or (named[0] if named else label.experiment)


def _name(label: Label, shared: set[str], several: bool) -> str:
    first = _first(label)
    before = [label.experiment] if several and first != label.experiment else []
    rest = [part for part in label.overrides if part not in shared and not part.startswith(ARM)]
    return ", ".join([*before, first, *rest])
