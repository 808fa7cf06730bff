"""What a server's response says: a reply with its thought, its tokens and who wrote it; or the models that it lists.

What is of the wrong shape is no response at all. What is only odd (a count that is no number) is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.strict_json import short
from arr_rpo.types import Reason

MOST_TOKENS = 10**8  # of one reply; a larger count is none
SLACK = 1e-3  # by which probabilities may miss one


class MalformedResponse(Exception):  # noqa: N818 - a fault of the server's, which may be gone the next time
    """A response of success that is no chat completion, or no list of models."""


@dataclass(frozen=True)
class Token:
    """A token of a reply, in bytes, and the probabilities that the server lists for its place, by the text of the token.

    least: the probability that one which is not listed has at most.
    """

    text: bytes
    listed: Mapping[str, float]
    least: float


@dataclass(frozen=True)
class Reply:
    """text: what stands in the place of the answer. cut: whether it ended at the token limit. failure: why there is no answer,
    where the server says so itself.

    tokens: read and written, as the server counts them; thought: those of them that were thought. model: who wrote it.
    chances: the tokens with their alternatives; None where the server gives none.
    """

    text: str
    cut: bool
    tokens: int = 0
    thought: int = 0
    model: str = ""
    chances: tuple[Token, ...] | None = None
    failure: NoAnswer | None = None


def read_reply(text: str, *, listed: bool = False) -> Reply:
    """The first choice of a chat completion; its tokens with their alternatives only where they are to be `listed`.

    Raises:
        MalformedResponse: not JSON, or not of a completion's shape: something between model and client went wrong.
    """
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        if finish in ("abort", "error"):  # vLLM's word for a request that it drops, as when it shuts down
            raise ValueError("the server gave the reply up")
        content, thought = _written(message)
        usage = data.get("usage")
        details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
        return Reply(
            text=content,
            cut=finish == "length",
            tokens=_count(usage, "total_tokens"),
            thought=_count(details, "reasoning_tokens") or _count(usage, "reasoning_tokens"),
            model=short(data["model"]) if isinstance(data.get("model"), str) else "",
            chances=_chances(choice) if listed else None,
            failure=_failure(message, finish, content, thought),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise MalformedResponse(f"no chat completion ({type(error).__name__}: {short(str(error))}): {short(text)}") from None


def _written(message: Mapping[str, Any]) -> tuple[str, str]:
    """What is said and what is thought. Where a parser put the whole reply into the thought, and it can be nothing but an
    answer, it is one."""
    content = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        thought = thought or "".join(str(part) for part in content if part.get("type") in ("thinking", "reasoning"))
        content = "".join(part["text"] for part in content if part.get("type") not in ("thinking", "reasoning"))
    content = content or ""
    content.encode()  # half of a surrogate pair can be neither sent nor logged
    thought = thought if isinstance(thought, str) else ""
    bare = thought.strip()
    if not content.strip() and bare and ((" " not in bare and "\n" not in bare) or _is_object(bare)):
        return bare, ""
    return content, thought


def _failure(message: Mapping[str, Any], finish: Any, content: str, thought: str) -> NoAnswer | None:
    if finish == "content_filter":
        return NoAnswer(Reason.CONTENT_FILTER, "the server's filter stopped the reply")
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        return NoAnswer(Reason.REFUSAL, f"the model will not answer: {short(refusal)}")
    if content.strip():
        return None
    if thought:
        where = "the token limit was spent on it" if finish == "length" else "the server's parser left nothing else"
        return NoAnswer(Reason.ONLY_THOUGHT, f"a thought and no answer: {where}")
    if finish == "length":
        return NoAnswer(Reason.CUT_OFF, "the token limit was spent before an answer, perhaps on a thought that is not shown")
    return NoAnswer(Reason.EMPTY, "an empty reply")


def _count(holder: Any, key: str) -> int:
    """A count that a server gives; 0 where it is no such number."""
    value = holder.get(key) if isinstance(holder, dict) else None
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return int(value) if known else 0  # type: ignore[arg-type]


def _chances(choice: Mapping[str, Any]) -> tuple[Token, ...] | None:
    content = (choice.get("logprobs") or {}).get("content")
    if content == []:  # of a reply that was given up
        raise ValueError("no token is listed")
    return None if content is None else tuple(_token(entry) for entry in content)


def _token(entry: Mapping[str, Any]) -> Token:
    """A token's place. The chosen token counts where the list leaves it out.

    Raises:
        ValueError: what is listed are no probabilities, or more than one altogether.
    """
    top = [(one.get("token"), _probability(one)) for one in entry.get("top_logprobs") or ()]
    named = {name: p for name, p in top if isinstance(name, str) and name}
    said = entry.get("token")
    said = said if isinstance(said, str) else ""
    listed = {**({said: _probability(entry)} if said else {}), **named}
    if sum(listed.values()) > 1 + SLACK:
        raise ValueError(f"probabilities of {sum(listed.values()):.2f} altogether")
    least = min(named.values()) if named and len(named) == len(top) else 1.0
    return Token(bytes(entry["bytes"]) if entry.get("bytes") else said.encode(), listed, least)


def _probability(entry: Mapping[str, Any]) -> float:
    logprob = float(entry["logprob"])
    if math.isnan(logprob) or logprob > SLACK:
        raise ValueError(f"{logprob} is no log-probability")
    return math.exp(logprob)


def read_models(text: str) -> dict[str, dict[str, Any]]:
    """The models a server lists, by id: in `data`, or as a bare list.

    Raises:
        MalformedResponse: not such a list.
    """
    try:
        data = json.loads(text)
        return {str(entry["id"]): dict(entry) for entry in (data if isinstance(data, list) else data["data"])}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MalformedResponse(f"no list of models ({type(error).__name__}: {short(str(error))}): {short(text)}") from None


def described(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What tells one model from another behind a name. Not `created` and `permission`, which vLLM makes anew at each start, nor
    `max_model_len`, which says how it is served."""
    for key in ("id", "root", "parent", "owned_by"):
        if isinstance(value := model.get(key), str | int):
            yield key, short(str(value))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
