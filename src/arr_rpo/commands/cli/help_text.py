"""What `--help` says of a command: what it does, the overrides that people need first, its groups, and its settings, each with
what its YAML file says of it. Nothing is composed, so that it is answered whatever else is on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

LAST = """\
More:
  --cfg job            the whole config, as the other arguments make it (--package policy: a part of it)
  -m key=a,b           a run for each value
  --config-dir FOLDER  with groups of your own (CONTRIBUTING.md)
  --hydra-help         flags of Hydra, its completion for the shell among them (docs/commands.md)"""


def help_text(does: str, first: Mapping[str, str], config_name: str, package: str, arguments: Sequence[str]) -> str:
    """The text. does: the docstring of the command."""
    folder = resources.files(package)
    files = {"": (folder / f"{config_name}.yaml").read_text(encoding="utf-8")}
    groups = dict(_groups(files[""]))
    if "task" in groups:  # what a command does is a group of its own, with settings and groups
        chosen = next((a.removeprefix("task=") for a in arguments if a.startswith("task=")), groups["task"])
        task = folder / "task" / f"{chosen}.yaml"
        if task.is_file():
            files[f" of task={chosen}"] = task.read_text(encoding="utf-8")
            groups |= dict(_groups(files[f" of task={chosen}"]))
    width = max(map(len, first))
    parts = [does.strip(), "First:\n" + "\n".join(f"  {override:<{width}}  {what}" for override, what in first.items())]
    parts += ["Groups (group=option):\n" + "\n".join(_listed(folder, groups))] if groups else []
    parts += [f"Settings{whose} (key=value):\n{found}" for whose, file in files.items() if (found := _settings(file))]
    return "\n\n".join([*parts, LAST])


def _groups(file: str) -> Iterator[tuple[str, Any]]:
    """Group -> its option, of the defaults of a YAML file; without what overrides Hydra's own."""
    for entry in yaml.safe_load(file).get("defaults", []):
        if isinstance(entry, dict):
            for group, option in entry.items():
                if not group.startswith(("override ", "hydra/")):
                    yield group.removeprefix("/"), option


def _listed(folder: Traversable, groups: Mapping[str, Any]) -> Iterator[str]:
    width = max(map(len, groups))
    for group, option in groups.items():
        options = sorted(entry.name.removesuffix(".yaml") for entry in _folder(folder, group).iterdir() if _is_option(entry))
        chosen = f"  [{option}]" if option not in (None, "???") else ""
        yield f"  {group:<{width}}  {', '.join(options)}{chosen}"


def _folder(folder: Traversable, group: str) -> Traversable:
    for part in group.partition("@")[0].strip("/").split("/"):
        folder = folder / part
    return folder


def _is_option(entry: Traversable) -> bool:
    return entry.name.endswith(".yaml") and not entry.name.startswith("_")


def _settings(file: str) -> str:
    """A YAML file without its first comments, its defaults and what is Hydra's own."""
    kept, skipping = [], False
    for line in file.splitlines():
        if re.match(r"\S", line):
            skipping = line.startswith(("defaults:", "hydra:", "#"))
        if not skipping and line.strip():
            kept.append(f"  {line}")
    return "\n".join(kept)
