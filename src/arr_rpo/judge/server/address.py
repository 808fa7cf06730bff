"""Where a server is: an address that a request can be put to."""

from __future__ import annotations

import ipaddress

import httpx2

from arr_rpo.types import UserError

OPTION = "judge.model.base_url"


def parsed(base_url: str) -> httpx2.URL:
    """The address. It holds no secret (`judge.secrets`), so every message may tell it.

    Raises:
        UserError: it is none.
    """
    try:
        url = httpx2.URL(base_url.strip())
        if not 0 < (url.port or 1) < 65536:
            raise ValueError(f"no port {url.port}")
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise UserError(f"{OPTION} is no address ({error}): give one such as http://localhost:8000/v1") from None
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
