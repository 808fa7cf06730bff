"""What the command line got wrong, in one sentence with the nearest name that there is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

CLOSE, CLOSE_ALONE = 0.6, 0.8  # of difflib's ratio: of whole keys, and of their last part where that is all that is known


def sentence(error: HydraException, config_name: str, package: str, arguments: Sequence[str]) -> str | None:
    """What the user is told of an error of Hydra's about the command line; None of any other."""
    said = str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={option}: there is no such option{meant(option, error.options)}; there are {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return f"{error.override}: the value cannot be read; quote it for Hydra, \"{key}='{value}'\""
    if found := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'(?:\n| requires)", said):
        key, _, value = found[1].partition("=")
        return f"{found[1]}: several values are a sweep, with -m; one list of them is {key}=[{value}]"
    if found := re.search(r"You must specify '([^']+)'", said):
        options = [line.strip() for line in said.rsplit("Available options:", maxsplit=1)[-1].splitlines() if line.strip()]
        return f"{found[1]} is not given: choose {found[1]}=... of {', '.join(options)}"
    if found := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", said):
        return _no_key(found[1], config_name, package, arguments)
    return said.splitlines()[0] if isinstance(error, ConfigCompositionException) else None


def key_names(config: DictConfig) -> list[str]:
    """All keys of a config, dotted."""
    plain = OmegaConf.to_container(config, resolve=False)
    return [*_keys(plain)]


def meant(name: str, known: Sequence[str]) -> str:
    """ ", did you mean ...?" if there is a name near by."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)
    return f"; did you mean {near[0]}?" if near else ""


def _no_key(key: str, config_name: str, package: str, arguments: Sequence[str]) -> str:
    known = _names(config_name, package, [argument for argument in arguments if key not in argument and "=" in argument])
    last = key.rpartition(".")[2]
    if key in known:  # Hydra says so of a new key inside it
        return f"{key} has no such key: +{key}=... adds to what it holds"
    near = meant(key, known)
    if not near and (same := [name for name in known if _alike(last, name.rpartition(".")[2])]):
        near = f"; did you mean {same[0]}?"
    if "/" in key or "@" in key:
        return f"there is no group {key}{near}"
    return f"there is no key {key}{near or ' (--cfg job shows all; +key=value adds one)'}"


def _alike(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other).ratio() > CLOSE_ALONE


def _names(config_name: str, package: str, overrides: Sequence[str]) -> list[str]:
    """All keys of the config that the other arguments make, and its groups."""
    GlobalHydra.instance().clear()
    with initialize_config_module(package, version_base="1.3"):
        for chosen in (overrides, [override for override in overrides if override.startswith("experiment=")], []):
            try:
                composed = compose(config_name, overrides=[*chosen], return_hydra_config=True)
            except HydraException:
                continue
            choices = map(str, composed.hydra.runtime.choices)
            groups = [name.partition("@")[0] for name in choices if not name.startswith("hydra/")]
            return [*(name for name in key_names(composed) if name.partition(".")[0] != "hydra"), *groups]
    return []


def _keys(part: Any, above: str = "") -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield f"{above}{key}"
            yield from _keys(value, f"{above}{key}.")
