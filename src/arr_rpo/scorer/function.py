"""A Python function as a scorer: the shortest way to a reward of one's own."""

from __future__ import annotations

import importlib
import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from PIL.Image import Image

from arr_rpo.reward.pointwise import Pointwise
from arr_rpo.scorer.base import Scorer, grade
from arr_rpo.types import Grade, Prompt, UserError


def scored(score: Scorer | str) -> Pointwise:
    """Each picture's own number as its reward. score: a scorer, or the dotted name of a function."""
    return Pointwise(protocol=FunctionScorer(function=score) if isinstance(score, str) else score)


class FunctionScorer(Scorer):
    """Calls a function with whole groups of a rollout (all of this process's at once, or as they are drawn), and with those of
    these keyword arguments that it takes: `images` (PIL), `prompts` (texts), `sources` (the pictures to edit, None of others),
    `metadata` (dicts: the further columns of the prompt file). It returns a
    number for each image, or None where it has none.

        def brightness(images, **columns):
            return [float(np.asarray(image.convert("L")).mean()) / 255 for image in images]

    Args:
        function: its dotted name, such as `my_module.brightness`; what it raises ends the run with its own traceback.
    """

    def __init__(self, *, function: str) -> None:
        self.name, self._function = function, found(function)
        taken = inspect.signature(self._function).parameters.values()
        self._all = any(p.kind is p.VAR_KEYWORD for p in taken)
        self._taken = {p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        needed = {p.name for p in taken if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if unknown := sorted(needed - {"images", "prompts", "sources", "metadata"}):
            raise UserError(
                f"the score {function} wants an argument {unknown[0]!r}: it is called with images=, prompts=, sources= and "
                "metadata= (docs/rewards.md)"
            )

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        """See `Scorer.score`.

        Raises:
            UserError: the function returned something else than a number for each picture.
        """
        given: dict[str, Any] = {
            "images": list(images),
            "prompts": [prompt.text for prompt in prompts],
            "sources": [prompt.source for prompt in prompts],
            "metadata": [dict(prompt.metadata) for prompt in prompts],
        }
        returned = self._function(**{name: value for name, value in given.items() if self._all or name in self._taken})
        try:
            values = [_number(value) for value in returned]
        except TypeError as error:
            raise UserError(f"the score {self.name} returned {returned!r:.200}: a list of numbers is wanted") from error
        if len(values) != len(images):
            raise UserError(f"the score {self.name} returned {len(values)} numbers for {len(images)} images")
        return [grade(value) for value in values]


def found(name: str) -> Callable[..., Any]:
    """The function of a dotted name.

    Raises:
        UserError: there is none.
    """
    module, _, attribute = name.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"no function {name!r} ({error}). Give its dotted name, of a module that Python finds: in the current folder, or "
            "with PYTHONPATH=<its folder>"
        ) from error
    if not callable(function):
        raise UserError(f"{name} is no function")
    return function  # type: ignore[no-any-return]


def _number(value: Any) -> float | None:
    """Of Python, NumPy or torch; anything else is a TypeError."""
    if value is None:
        return None
    if isinstance(value, numbers.Real) or (hasattr(value, "item") and getattr(value, "size", 1) != 0):
        return float(value)
    raise TypeError(f"{value!r} is no number")
