"""Refuses secrets in a config before anything of it is written: Hydra's own files of a sweep, the run's folder, logs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from arr_rpo.judge.secrets import FIX, VARIABLE_NAMES, suspicion_of_override, suspicions

ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:\s*([^,}\s]*)")


class RefuseSecrets(Callback):
    """Ends a command whose config, or one of whose overrides, holds what looks like a secret. It does so before Hydra makes a
    folder; a `UserError` in the command itself would come after it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _refuse(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _refuse(config)


def found(config: DictConfig) -> Iterator[tuple[str, str]]:
    """Key and reason of what looks like a secret. References are not followed: where they lead is part of the config."""
    settings = OmegaConf.to_container(config, resolve=False)
    assert isinstance(settings, dict)
    hydra = settings.pop("hydra", {})
    overrides = hydra.pop("overrides", None) or {}
    hydra.get("job", {}).pop("override_dirname", None)  # made of the overrides
    yield from suspicions(settings)
    yield from suspicions(hydra, "hydra")
    yield from _from_environment({**settings, "hydra": hydra}, "", of_server=False)
    for override in [*(overrides.get("task") or ()), *(overrides.get("hydra") or ())]:  # a sweep's are not in its config yet
        name, _, value = override.partition("=")
        parts = (part.strip("'\" ") for part in value.split(","))
        yield from ((name, why) for part in parts if (why := suspicion_of_override(name, part)))
        yield from _from_environment(value, name, of_server="judge" in name)


def _from_environment(settings: Any, key: str, *, of_server: bool) -> Iterator[tuple[str, str]]:
    """`${oc.env:...}` of a variable that is named as a secret is, and of any in a server's settings: the run's files have the
    value of some, and whoever goes on with the run reads his own."""
    if isinstance(settings, str):
        for variable in ENVIRONMENT.findall(settings):
            if of_server or VARIABLE_NAMES.search(variable) or "$" in variable:
                yield key, f"it reads the environment variable {variable}"
        return
    parts = settings.items() if isinstance(settings, dict) else enumerate(settings) if isinstance(settings, list) else ()
    inside = of_server or (isinstance(settings, dict) and "base_url" in settings)
    for name, part in parts:
        yield from _from_environment(part, f"{key}.{name}" if key else str(name), of_server=inside)


def _refuse(config: DictConfig) -> None:
    for key, why in found(config):
        print(
            f"error: {key} looks like a secret: {why}. It is not repeated here, and nothing was written. {FIX}", file=sys.stderr
        )
        raise SystemExit(1)
