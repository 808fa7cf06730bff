"""User errors end a command with their message and exit code 1, without a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from arr_rpo.types import UserError


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Prints a `UserError` (also one wrapped by Hydra's instantiation) as one message; other exceptions pass."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except OmegaConfBaseException as error:
            print(f"error: the config does not hold together: {error}", file=sys.stderr)
            raise SystemExit(1) from error
        except (UserError, InstantiationException) as error:
            cause = error if isinstance(error, UserError) else error.__cause__
            if not isinstance(cause, UserError | TypeError):
                raise
            where = "" if isinstance(error, UserError) else f" (config key {_full_key(error)})"
            print(f"error: {cause}{where}", file=sys.stderr)
            raise SystemExit(1) from error

    return run


def _full_key(error: BaseException) -> str:
    for line in str(error).splitlines():
        if line.startswith("full_key:"):
            return line.removeprefix("full_key:").strip()
    return "unknown"
