"""Where a server is: an address that a request can be put to, and that holds no secret."""

from __future__ import annotations

import ipaddress
import re

import httpx2

from arr_rpo.types import UserError

SECRET = re.compile(r"(?:^|[-_])(?:key|token|secret|sig|signature|password|auth|credential)s?$", re.IGNORECASE)
OPTION = "judge.model.base_url"


def parsed(base_url: str) -> httpx2.URL:
    """The address, of which every message may tell.

    Raises:
        UserError: it is none, or it holds a password or a key, which is not repeated.
    """
    try:
        url = httpx2.URL(base_url.strip())
        if not 0 < (url.port or 1) < 65536:
            raise ValueError(f"no port {url.port}")
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise UserError(f"{OPTION} is no address ({error}): give one such as http://localhost:8000/v1") from None
    if url.userinfo:
        raise UserError(f"{OPTION} must not hold a user or password: name a variable in judge.model.api_key_env")
    if secret := next((name for name in url.params if SECRET.search(name)), None):
        raise UserError(
            f"{OPTION} must not hold a key ({secret}=...), which would stand in the run's files: name a variable in "
            "judge.model.api_key_env, and take the key out of the address"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"{OPTION}={base_url!r}: it begins with http:// or https://, as in http://localhost:8000/v1")
    return url


def of(base: httpx2.URL, path: str) -> httpx2.URL:
    """The address of something on the server; what is asked after "?" (api-version=...) stays at its end."""
    return base.copy_with(path=base.path.rstrip("/") + path)


def is_here(url: httpx2.URL) -> bool:
    """Whether it is this machine, whatever it listens to."""
    host = url.host.strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
