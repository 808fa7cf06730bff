"""Secrets: where they may stand, and what looks like one that stands elsewhere.

Settings are written to `config.yaml`, `versions.json` and logs, and are sent to colleagues. So a setting may hold the *name* of
an environment variable, and what looks like a secret itself is refused. Nothing here repeats a value that it refuses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from arr_rpo.types import UserError

VARIABLE = re.compile("[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")  # OPENAI_API_KEY; a key looks otherwise
HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NAMES = re.compile(  # of settings, headers, and fields of a query
    r"(?i)(^|[-_. ])((api|access|private|subscription)[-_ ]?key|secret([-_ ]?key)?|token|password|passwd|passphrase|"
    r"authorization|auth|bearer|credentials?|cookie|signature|sig)$"
)
HEADERS = re.compile(  # whose values are secrets
    r"(?i)(key|token|secret|passw(or)?d|passphrase|auth\w*|bearer|credentials?|cookie|signature|sig)$"
)
QUERY = re.compile(r"(?i)^(key|code)$")  # what these mean in a query alone
VARIABLE_NAMES = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_?\d+)?$")
SHAPES = re.compile(
    r"(?<![\w-])(sk-(?=[\w-]*\d)[\w-]{20,}|hf_\w{20,}|gsk_\w{20,}|AIza[\w-]{30,}|gh[pousr]_\w{30,}|github_pat_\w{20,}|"
    r"xox[abpr]-[\w-]{10,}|AKIA[0-9A-Z]{16}|nvapi-[\w-]{20,}|r8_\w{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,})"
    r"|(?i:\b(bearer|basic)\s+[\w+/=.-]{8,})|-----BEGIN [A-Z ]*PRIVATE KEY"
)
SHORTEST = 8  # characters of a variable's value that is looked for: shorter ones stand everywhere by chance
NO_NAME = "it should be the name of an environment variable, and is none"
FIX = (
    "Settings are written down. Export the secret in an environment variable, and name that in judge.model.api_key_env or, of "
    "another header than Authorization, in judge.model.headers={x-api-key: NAME}"
)


def in_environment(variable: str, setting: str) -> str:
    """The value of the environment variable that a setting names.

    Raises:
        UserError: it is not set, or no header can carry it. The message names the variable, not its value.
    """
    if not names_variable(variable):
        raise UserError(
            f"{setting} names an environment variable, such as OPENAI_API_KEY; there is none of that name. It "
            "is not repeated here, as it may be the key itself: then export that under a name, and take it out of the config "
            "and of the run's config.yaml and versions.json"
        )
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UserError(f"{setting}={variable}: no such environment variable. Export it, or name none (null)")
    if not (value.isascii() and value.isprintable() and (" " not in value or setting != "judge.model.api_key_env")):
        raise UserError(f"{setting}={variable}: its value has characters that no key has (spaces, lines ...)")
    return value


def headers_of(named: Mapping[str, str], setting: str = "judge.model.headers") -> dict[str, str]:
    """Header -> value, of header -> name of the environment variable that holds the value; raises as `in_environment`."""
    if wrong := [name for name in named if not HEADER.fullmatch(str(name))]:
        raise UserError(f"{setting}: {wrong[0]!r} is no name of a header")
    return {name: in_environment(str(variable), f"{setting}.{name}") for name, variable in named.items()}


def is_secret(header: str, value: str) -> bool:
    """Whether a header's value must not be repeated, nor sent unencrypted: by the header's name, or by the value's shape."""
    return HEADERS.search(header) is not None or SHAPES.search(value) is not None


def names_variable(text: str) -> bool:
    """Whether this is the name of an environment variable, or looks like one."""
    return text in os.environ or VARIABLE.fullmatch(text) is not None


def suspicion(name: str, value: str) -> str | None:
    """What about a setting looks like a secret; None where nothing does."""
    if SHAPES.search(value):
        return "it has the shape of a key"
    if (variable := _variable_in(value)) is not None:
        return f"it holds the value of the environment variable {variable}"
    if "${" not in value and value and NAMES.search(name.rpartition(".")[2]):
        return "its name is that of a secret"
    if "://" in value:
        return _in_url(value)
    return None


def suspicions(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and reason of all that looks like a secret in nested settings, a server's `headers` and `api_key_env` included, whose
    values must be names."""
    if isinstance(settings, str):
        if (why := suspicion(key, settings)) is not None:
            yield key, why
    elif isinstance(settings, Mapping):
        of_server = "base_url" in settings
        for name, value in settings.items():
            below = f"{key}.{name}" if key else str(name)
            if of_server and name == "headers" and isinstance(value, Mapping):
                yield from (found for header, given in value.items() for found in _no_name(f"{below}.{header}", given))
            elif of_server and name == "api_key_env":
                yield from _no_name(below, value)
            else:
                yield from suspicions(value, below)
    elif isinstance(settings, list | tuple):
        for number, value in enumerate(settings):
            yield from suspicions(value, f"{key}.{number}" if key else str(number))


def refuse(settings: Mapping[str, Any], key: str) -> None:
    """Raises a UserError where something in a server's settings looks like a secret."""
    for where, why in suspicions(settings, key):
        raise UserError(f"{where} looks like a secret: {why}. It is not repeated here. {FIX}")


def suspicion_of_override(name: str, value: str) -> str | None:
    """As `suspicion`, of a setting that is not yet among those of its server: "judge.model.api_key_env", "OPENAI_API_KEY"."""
    if name.endswith(".api_key_env") or ".headers." in name:
        return None if value in ("", "null") or names_variable(value) else NO_NAME
    return suspicion(name, value)


def _no_name(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is not None and not names_variable(str(value)):
        yield key, NO_NAME


def _variable_in(text: str) -> str | None:
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and VARIABLE_NAMES.search(name) and not value.startswith("/") and value in text:
            return name
    return None


def _in_url(text: str) -> str | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    if "@" in url.netloc:
        return "a URL with a user or a password"
    for name, value in parse_qsl(url.query):
        if value and "${" not in value and (NAMES.search(name) or QUERY.search(name)):
            return f"a URL with {name!r} in its query"
    return None
