"""What is wrong with an exchange: whose fault, whether another attempt may fare better, and what the user can mend."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arr_rpo.judge.reasons import OF_THE_SERVER
from arr_rpo.judge.server.traffic import Exchange, Failed
from arr_rpo.strict_json import short
from arr_rpo.types import Reason

BUSY = (408, 409, 425, 429)  # as every status of 500 and more: it may go better the next time
NOT_MENDED_BY_ASKING = {
    401: "it wants an API key: name the variable that holds it in judge.model.api_key_env",
    402: "its account has no credit left",
    403: "it does not let this API key in (judge.model.api_key_env), or a proxy stands before it (HTTPS_PROXY)",
    404: "it does not know the address or the model: see judge.model.base_url and judge.model.model; one that lists no models "
    "wants a name for what it serves in judge.model.revision",
    405: "it does not know the address: see judge.model.base_url",
}
FILTER = re.compile(
    r"content[ _-]?(?:filter|policy|management)|moderation|safety (?:system|filter)|inspection[ _]failed|inappropriate content"
)
LONG = re.compile(
    r"context[ _]?(?:length|window)|maximum (?:context|length)|max_model_len|too many (?:tokens|images)"
    r"|(?:too|is) (?:long|large)|exceeds? the (?:maximum|limit)|longer than|image size"
)
UNKNOWN_FIELD = re.compile(
    r"unsupported|unknown|unrecogni[sz]ed|not (?:supported|permitted|allowed)|(?:does|do) ?n[o']t support|extra|invalid"
    r"|unexpected|forbidden|must be|should be|at most|less than|greater than|between"
)
QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing")
SOON = re.compile(r"retry in (?:([0-9.]+) ?(?:s|seconds)\b)?")  # Gemini's word for a rate limit, which it calls a quota


@dataclass(frozen=True)
class Fault:
    """again: whether another attempt may fare better, after `wait` seconds at least. stop: what the user has to mend, where no
    other request can fare better; empty where it may."""

    reason: Reason
    words: str
    again: bool = False
    wait: float = 0.0
    stop: str = ""


def fault_of(exchange: Exchange, sent: Mapping[str, Any], answered: bool) -> Fault | None:
    """None where there is a response to be read.

    sent: the request's fields. answered: whether the server has answered before: then its address and its key are right.
    """
    if exchange.failed is not None:
        kind = {Failed.TIMEOUT: Reason.TIMEOUT, Failed.TOO_LARGE: Reason.BROKEN_RESPONSE, Failed.UNSENT: Reason.REJECTED}
        reason = kind.get(exchange.failed, Reason.UNREACHABLE)
        return Fault(reason, exchange.text, again=exchange.failed in (Failed.TIMEOUT, Failed.CONNECTION))
    status, body = _status(exchange)
    if status is None:
        return None
    hint = " ".join(str(value) for value in body.values()).lower()
    words, reason = f"status {status}: {short(body['message'])}", _reason(status, hint)
    if stop := _stop(status, body, hint, sent, answered) if reason is Reason.REJECTED else "":
        return Fault(reason, words, stop=f"{stop} ({words})")
    wait = max(exchange.retry_after or 0.0, float(soon[1] or 0) if (soon := SOON.search(hint)) else 0.0)
    return Fault(reason, words, again=reason in OF_THE_SERVER, wait=wait)


def _reason(status: int, hint: str) -> Reason:
    if _no_credit(hint):
        return Reason.REJECTED
    if status in BUSY or status >= 500:
        return {408: Reason.TIMEOUT, 429: Reason.BUSY}.get(status, Reason.SERVER_ERROR)
    if FILTER.search(hint):
        return Reason.CONTENT_FILTER
    return Reason.TOO_LONG if status == 413 or (status in (400, 422) and LONG.search(hint)) else Reason.REJECTED


def _no_credit(hint: str) -> bool:
    return bool(QUOTA.search(hint)) and not SOON.search(hint)


def _stop(status: int, body: Mapping[str, str], hint: str, sent: Mapping[str, Any], answered: bool) -> str:
    """What the user has to mend; empty where the request alone is at fault."""
    if _no_credit(hint):
        return NOT_MENDED_BY_ASKING[402]
    if 300 <= status < 400:
        return "it sends requests elsewhere: give that address as judge.model.base_url"
    if status in NOT_MENDED_BY_ASKING and not (answered and status in (403, 404, 405)):
        return NOT_MENDED_BY_ASKING[status]
    field = _field(body, hint, sent)
    return "" if field is None else f"it does not take the field {field!r} as it is: {_mended(field)}"


def _status(exchange: Exchange) -> tuple[int | None, dict[str, str]]:
    """The status, or what an error in a response of success amounts to; None where there is none. And what the error says."""
    try:
        data = json.loads(exchange.text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, list) and len(data) == 1:  # as Gemini's addresses wrap an error
        data = data[0]
    error = (data.get("error") or data.get("detail")) if isinstance(data, dict) else None
    fields = error if isinstance(error, dict) else data if isinstance(data, dict) and not error else {}
    body = {key: str(fields[key]) for key in ("message", "code", "type", "param") if isinstance(fields.get(key), str | int)}
    body.setdefault("message", error if isinstance(error, str) else exchange.text)
    status = exchange.status or 0
    if not 200 <= status < 300:
        return status, body
    if not isinstance(data, dict) or not data.get("error") or data.get("choices") or data.get("data"):
        return None, body
    code = body.get("code", "")
    if code.isdigit() and 400 <= int(code[:4]) < 600:
        return int(code[:4]), body
    return (400 if "invalid_request" in body.get("type", "") else 500), body


def _field(body: Mapping[str, str], hint: str, sent: Mapping[str, Any]) -> str | None:
    """The field of the request that the server will not have."""
    names = [name for name in sent if name not in ("messages", "model")]
    if body.get("param", "").split(".")[0] in names:
        return body["param"].split(".")[0]
    if not UNKNOWN_FIELD.search(hint):
        return None
    named = [name for name in names if re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", hint)]
    return max(named, key=len, default=None)


def _mended(field: str) -> str:
    """`judge.model.fields` renames a field, or leaves it out."""
    known = {
        "max_completion_tokens": "+judge.model.fields.max_completion_tokens=max_tokens sends it by its older name",
        "max_tokens": "take judge.model.fields.max_completion_tokens out, which gave it this name",
        "response_format": "use judge.model.answers=generated, or logprobs where the server gives them",
        "top_logprobs": "lower judge.model.top_logprobs",
        "logprobs": "use judge.model.answers=schema, or generated",
    }
    return known.get(field, f"+judge.model.fields.{field}=null leaves it out")
