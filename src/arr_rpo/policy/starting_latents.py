"""The latents that a pipeline's loop begins with: its own, or recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class StartingLatents:
    """A pipeline's `prepare_latents`, whose latents (the result, or the first of several) can be replaced by recorded ones.

    Better than the call's own `latents` argument, which some pipelines want unpacked, though their loop has packed ones; that
    argument serves pipelines without the method.
    """

    def __init__(self, prepare: Callable[..., Any] | None) -> None:
        self._prepare = prepare
        self._latents: Tensor | None = None

    def set_to(self, latents: Tensor) -> StartingLatents:
        self._latents = latents
        return self

    def argument(self) -> dict[str, Tensor]:
        """For the call, where there is no `prepare_latents` to replace the result of."""
        return {"latents": self._latents} if self._prepare is None and self._latents is not None else {}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._latents = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        assert self._prepare is not None
        prepared = self._prepare(*args, **kwargs)
        if self._latents is None:
            return prepared
        own, rest = (prepared[0], tuple(prepared[1:])) if isinstance(prepared, tuple) else (prepared, None)
        latents = self._latents.to(own.device)
        return latents if rest is None else (latents, *rest)
