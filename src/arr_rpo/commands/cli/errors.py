"""User errors end a command with their message and exit code 1, without a traceback."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from arr_rpo import ranks
from arr_rpo.commands.cli.misspelt import meant
from arr_rpo.types import UserError


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Prints a `UserError` (also one wrapped by Hydra's instantiation) as one message; other exceptions pass."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            if not say(error):
                raise
            raise SystemExit(1) from error

    return run


def say(error: Exception) -> bool:
    """Prints what the user is told of an error, unless process 0 of the run does; returns whether there is anything to tell."""
    if (message := told(error)) is None:
        return False
    known = isinstance(error, ranks.OtherProcessError) or getattr(error, "told", False)
    if not (ranks.rank() and known):
        print(f"{f'[process {ranks.rank()}] ' if ranks.rank() else ''}error: {message}", file=sys.stderr)
    return True


def told(error: Exception) -> str | None:
    """What the user is told of an error that they can mend; None of any other."""
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and isinstance(error.parent_node, DictConfig):
        name = str(error.full_key).rpartition(".")[2]
        return f"there is no key {error.full_key}{meant(name, list(map(str, error.parent_node)))}"
    if isinstance(error, OmegaConfBaseException):
        return f"the config does not hold together: {error}"
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        named = "a run's folder is named by its overrides: \"hydra.sweep.subdir='seed=${seed}'\" is shorter"
        return f"{error.strerror}: {error.filename!s:.120}... In a sweep {named}"
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, UserError | TypeError):
        return f"{error.__cause__} (config key {_full_key(error)})"
    return None


def _full_key(error: BaseException) -> str:
    for line in str(error).splitlines():
        if line.startswith("full_key:"):
            return line.removeprefix("full_key:").strip()
    return "unknown"
