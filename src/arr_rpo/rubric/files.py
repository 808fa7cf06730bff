"""Rubrics in files that people read and edit: YAML, or the same keys as JSON.

    prompt: a photo of two red circles      # without it, the rubric is for every prompt
    criteria:
    - name: number
      question: are there exactly two red circles?
      theme: numbers                        # optional; criteria of one theme stand together
      weight: 2.0                           # optional, 1 without it
    provenance: {...}                       # optional, texts

A file may also hold several, as a list under `rubrics`.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from arr_rpo.judge.rubric_reply import UNPRINTABLE, RubricError, criteria_of, criterion_json, decode
from arr_rpo.types import Rubric, UserError

KEYS = {"prompt", "criteria", "provenance", "digest", "history"}
SUFFIXES = (".yaml", ".yml", ".json")


def to_yaml(rubric: Rubric) -> str:
    """The rubric as a file to edit: where it came from as comments on top, and its prompt, criteria and provenance."""
    origin = dict(rubric.provenance)
    prompt = {"prompt": origin.pop("prompt")} if "prompt" in origin else {}
    notes = [f"# {_printable(key)}: {_printable(value)}" for key, value in {**prompt, **origin}.items()]
    data = {
        **prompt,
        "criteria": [criterion_json(c) for c in rubric.criteria],
        "provenance": origin,
        "digest": criteria_digest(rubric),
    }
    head = "# A rubric. Edit it freely: it is used as it stands (rubric=from_file), and what was changed counts as edited."
    return "\n".join([head, *notes, yaml.dump(data, Dumper=_Exact, sort_keys=False, allow_unicode=True, width=120)])


def from_yaml(text: str, path: Path) -> list[Rubric]:
    """The rubrics of a file's text. `path` is for messages and, by its suffix, says whether it is JSON.

    A rubric whose criteria are no longer those of its `digest` has `edited` in its provenance.

    Raises:
        UserError: the text is no such file; names the file and, where it can be told, the line.
    """
    data = _load(text, path)
    if isinstance(data, dict) and set(data) == {"rubrics"} and isinstance(data["rubrics"], list) and data["rubrics"]:
        return [_rubric(entry, text, path, ("rubrics", i)) for i, entry in enumerate(data["rubrics"])]
    return [_rubric(data, text, path, ())]


def read_rubrics(path: Path) -> list[Rubric]:
    """The rubrics of a file. See `from_yaml`."""
    try:
        return from_yaml(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from error


def criteria_digest(rubric: Rubric) -> str:
    """Of the criteria alone."""
    return hashlib.sha256(json.dumps([criterion_json(c) for c in rubric.criteria]).encode()).hexdigest()[:16]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _rubric(data: Any, text: str, path: Path, at: tuple[str | int, ...]) -> Rubric:
    if not isinstance(data, dict) or "criteria" not in data or not set(data) <= KEYS:
        wrong = sorted(map(str, set(data) - KEYS)) if isinstance(data, dict) else []
        what = f"unknown key {wrong[0]!r}" if wrong else "no `criteria`"
        raise _error(path, _line(text, *at), f"{what}: a rubric has `criteria`, perhaps a `prompt` and a `provenance`")
    try:
        criteria = criteria_of(data["criteria"])
    except RubricError as error:
        places = (*at, "criteria") if error.criterion is None else (*at, "criteria", error.criterion)
        raise _error(path, _line(text, *places), str(error)) from error
    try:
        origin = _provenance(data)
    except RubricError as error:
        raise _error(path, _line(text, *at), str(error)) from error
    rubric = Rubric(criteria, origin)
    if "digest" in data and data["digest"] != criteria_digest(rubric):
        return Rubric(criteria, {**origin, "edited": "yes"})
    return rubric


def _provenance(data: Mapping[str, Any]) -> dict[str, str]:
    origin = data.get("provenance", {})
    if not isinstance(origin, dict) or not all(isinstance(text, str) for pair in origin.items() for text in pair):
        raise RubricError("`provenance` must map texts to texts: put numbers into quotes")
    if "prompt" not in data:
        return origin
    if not isinstance(data["prompt"], str) or not data["prompt"].strip():
        raise RubricError(f"`prompt` must be text, not {data['prompt']!r}")
    return {**origin, "prompt": data["prompt"]}


class _Exact(yaml.SafeDumper):
    """YAML that spells out control characters: between single quotes, a next-line character would come back as a newline."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(unicodedata.category(character) in UNPRINTABLE for character in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Exact.add_representer(str, _text)


class _Strict(yaml.SafeLoader):
    """YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        constructed: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return constructed


def _load(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        try:
            return decode(text)
        except RubricError as error:
            cause = error.__cause__
            raise _error(path, getattr(cause, "lineno", None), str(error)) from error
    try:
        return yaml.load(text, _Strict)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = mark.line + 1 if mark else None
        raise _error(path, where, f"not YAML: {getattr(error, 'problem', None) or error}") from error


def _line(text: str, *places: str | int) -> int | None:
    """The line of an entry, from 1. JSON is read as YAML for it, which it nearly always is."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    for place in places:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == place), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(place, int) and place < len(node.value):
            node = node.value[place]
    return node.start_mark.line + 1 if node is not None else None


def _error(path: Path, where: int | None, message: str) -> UserError:
    at = f", line {where}" if where else ""
    return UserError(f"{path}{at}: {message}. Mend it, or delete the file to have a rubric written again.")
