"""How a command starts: Hydra's own way, but for `--help` and for what is misspelt."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hydra
from hydra.errors import HydraException

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.commands.cli.help_text import help_text
from arr_rpo.commands.cli.misspelt import sentence

CONFIGS = "arr_rpo.configs"


def entry(
    config_name: str,
    first: Mapping[str, str],
    package: str = CONFIGS,
    arguments_of: Callable[[Sequence[str]], list[str]] = list,
) -> Callable[[Callable[..., Any]], Callable[[], Any]]:
    """As `hydra.main`, for a function of a config.

    first: the overrides that people need first, and what each is for; `--help` has them. arguments_of: what Hydra is to read in
    place of the command line.
    """

    def decorate(task: Callable[..., Any]) -> Callable[[], Any]:
        main = hydra.main(version_base="1.3", config_path=f"pkg://{package}", config_name=config_name)(plain_errors(task))

        @functools.wraps(task)
        def command() -> Any:
            arguments = sys.argv[1:]
            if {"--help", "-h"} & set(arguments):
                does = sys.modules[task.__module__].__doc__ or ""
                print(help_text(does, first, config_name, package, arguments))
                return None
            # What this variable asks for is that Hydra raises its errors in place of printing them.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            sys.argv[1:] = arguments_of(arguments)
            try:
                return main()
            except HydraException as error:
                if (told := sentence(error, config_name, package, arguments)) is None:
                    raise
                print(f"error: {told}", file=sys.stderr)
                raise SystemExit(1) from error

        return command

    return decorate
