"""What the settings of a judge behind a server may be: what contradicts itself is said before anything is asked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from arr_rpo.types import UserError

ANSWERS = ("generated", "schema", "logprobs")
OURS = ("model", "messages", "max_completion_tokens", "response_format", "logprobs", "top_logprobs", "stream", "n")


def check_settings(
    answers: str, parameters: Mapping[str, Any], votes: int, thinking: int, max_form: int, top_logprobs: int, timeout: float
) -> None:
    """See `ServerModel`, whose arguments these are.

    Raises:
        UserError: one is out of its range, or two do not go together.
    """
    if answers not in ANSWERS:
        raise UserError(f"judge.model.answers={answers!r}: it is one of {', '.join(ANSWERS)}")
    if taken := [key for key in OURS if key in parameters]:
        raise UserError(f"judge.model.parameters.{taken[0]}: this field is set from other settings of judge.model")
    try:
        json.dumps(dict(parameters), allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise UserError(f"judge.model.parameters cannot be sent: {error}") from None
    counts = {"votes": (votes, 1), "thinking_tokens": (thinking, 0), "max_form_tokens": (max_form, 1)}
    for name, (value, least) in {**counts, "top_logprobs": (top_logprobs, 1), "timeout": (timeout, 1e-3)}.items():
        if not least <= value < math.inf:
            raise UserError(f"judge.model.{name}={value}: it must be {least} or more")
    if votes > 1 and not parameters.get("temperature"):
        raise UserError(f"judge.model.votes={votes} with temperature 0 is one vote {votes} times: raise it")
    if thinking and answers == "logprobs":
        raise UserError(
            "judge.model.thinking_tokens wants judge.model.answers=schema or generated: probabilities after a "
            "thought that was drawn by chance are those of that thought"
        )
