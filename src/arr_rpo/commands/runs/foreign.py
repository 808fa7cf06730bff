"""The config of a run folder that somebody else may have made. What a config names is called, so that only what this package's
own configs name, its classes, and what the user allows by name may stand there."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser as Grammar
from omegaconf.grammar_parser import parse

from arr_rpo.plain_files import check_yaml, decode_yaml, only_plain, read_bytes
from arr_rpo.run.layout import CONFIG, VERSIONS
from arr_rpo.run.renamed import OURS, renamed
from arr_rpo.types import UserError

TARGET, ARGUMENTS = "_target_", "_args_"
LOOKS_UP = "hydra.utils.get_"  # get_method and its kin: what they are given is a name, too
NAMES_A_FUNCTION = {"arr_rpo.scorer.function.scored": "score", "arr_rpo.scorer.function.FunctionScorer": "function"}
RUNS_CODE = ("trust_remote_code", "custom_pipeline")  # what makes a library call code that lies beside weights
RESOLVERS = frozenset({"now", "hydra", "folder_of", "oc.select"})  # those of our configs; others read the environment, say
MOST_REFERENCES = 20  # of one text: their grammar is read by recursion


def config_of(folder: Path, option: str, allow: Sequence[str], needs: Sequence[str] = ()) -> DictConfig:
    """The config that a run was started with.

    Args:
        option: what names the folder on the command line, for messages: "run", "resume".
        allow: names, or packages, beyond our own that may be called.
        needs: keys that it must have.

    Raises:
        UserError: there is no such config, or it names something else to be called.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{option}={folder}: no {CONFIG} there. Give the folder of a run of train.py.")
    try:
        config = read_config(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{option}={folder}: {path} cannot be read ({error})") from error
    found = OmegaConf.to_container(config, resolve=False)
    assert isinstance(found, dict)
    if lacks := [key for key in needs if not found.get(key)]:
        raise UserError(f"{option}={folder}: {path} has no {lacks[0]!r}, so it is not the config of a run of train.py")
    if refused := list(dict.fromkeys(_refused(found, "", allow))):
        named = "; ".join(f"{key}: {name}" for key, name in refused[:5])
        more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
        if any(str(name).startswith(OURS) for _, name in refused):
            more += f" ({OURS}... may be of another version: {VERSIONS} has the commit that the run was made with)"
        raise UserError(
            f"{option}={folder}: its {CONFIG} names what is not of this package: {named}{more}. What a config names is called, "
            f"and this one may be anybody's. If you trust it, allow it by name: allow=[{','.join(name for _, name in refused)}]"
        )
    return config


def read_config(path: Path) -> DictConfig:
    """A config as Hydra reads it, with today's names of what was renamed; raises OSError, or ValueError where it is none, or is
    nested as no config is."""
    text = read_bytes(path).decode("utf-8")
    check_yaml(text)
    try:
        config = OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(config, DictConfig):
        raise ValueError("it holds no mapping")
    return DictConfig(renamed(OmegaConf.to_container(config, resolve=False)))


def allowed(config: DictConfig | None) -> Sequence[str]:
    """What a command's own config allows, of a command that has such a key."""
    return tuple(OmegaConf.select(config, "allow") or ()) if config is not None else ()


def only_files(folder: Path) -> None:
    """Refuses a folder, to be read by a library, in which something is no file (`plain_files.only_plain`)."""
    try:
        only_plain(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error}") from error


def _refused(found: Any, key: str, allow: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key and name of whatever would be called, or resolved, and may not be."""
    if isinstance(found, str) and "${" in found:
        yield from ((key, name) for name in _resolved_by(found) if name not in RESOLVERS and not _allowed(name, allow))
    if isinstance(found, dict) and TARGET in found:
        names = [found[TARGET]]
        if str(names[0]).startswith(LOOKS_UP):
            names += [value for name, value in found.items() if name not in (TARGET, ARGUMENTS)]
            names += found.get(ARGUMENTS) or ()
        if (argument := NAMES_A_FUNCTION.get(str(names[0]))) is not None:
            names += [value for value in (found.get(argument), *(found.get(ARGUMENTS) or ())) if isinstance(value, str)]
        yield from ((key or TARGET, str(name)) for name in names if not _known(name) and not _allowed(name, allow))
    if isinstance(found, dict):
        yield from ((f"{key}.{name}", name) for name in RUNS_CODE if found.get(name) and not _allowed(name, allow))
    parts = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for name, part in parts:
        yield from _refused(part, f"{key}.{name}" if key else str(name), allow)


def _resolved_by(text: str) -> Iterator[str]:
    """The resolvers that a text names, and mappings in their arguments, which may become part of the config."""
    if text.count("${") > MOST_REFERENCES:
        yield f"more than {MOST_REFERENCES} references"
        return
    try:
        waiting = [parse(text)]
    except GrammarParseError:
        yield text
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, Grammar.InterpolationResolverContext):
            yield str(node.resolverName().getText())  # type: ignore[no-untyped-call]
        elif isinstance(node, Grammar.DictContainerContext):
            yield node.getText()
        waiting += [node.getChild(place) for place in range(node.getChildCount())]


def _allowed(name: Any, allow: Sequence[str]) -> bool:
    return any(name == one or str(name).startswith(f"{one}.") for one in allow)


def _known(name: Any) -> bool:
    return isinstance(name, str) and (name in _named_by_our_configs() or _is_ours(name))


def _is_ours(name: str) -> bool:
    """A class of ours, or a formula; not what a module of ours has imported, and no other function, which may do anything with
    its arguments."""
    module, _, attribute = name.rpartition(".")
    if not re.fullmatch(r"arr_rpo(\.[A-Za-z]\w*)+", module):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    formula = module.startswith("arr_rpo.formulas.") and callable(found)
    return (isinstance(found, type) or formula) and found.__module__ == module


@functools.cache
def _named_by_our_configs() -> frozenset[str]:
    return frozenset(name for text in _texts(resources.files("arr_rpo.configs")) for name in _targets(decode_yaml(text)))


def _texts(folder: Traversable) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry)
        elif entry.name.endswith(".yaml"):
            yield entry.read_text(encoding="utf-8")


def _targets(found: Any) -> Iterator[str]:
    if isinstance(found, dict) and TARGET in found:
        yield found[TARGET]
        if found[TARGET].startswith(LOOKS_UP):
            yield found["path"]
    for part in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from _targets(part)
