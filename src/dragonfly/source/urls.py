"""URLs of sources: which can be read, which are one origin, and how they are shown."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from dragonfly.errors import SourceError

__all__ = ["check_form", "joined", "origin", "shown", "without_user"]


def check_form(url: str) -> str:
    """`url`, where it can be asked for; SourceError where it is none, or of another scheme (a redirect to file:)."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise SourceError("not a URL that can be read", subject=shown(url), advice="write http(s)://HOST/PATH")
    return url


def joined(url: str, location: str) -> str:
    """Where a redirect leads; SourceError where that is nowhere."""
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    return check_form(target)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: credentials stay with one of these."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def shown(url: str) -> str:
    """Without user, password and query, where secrets may be."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_user(url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """`user:password@` in a URL becomes an Authorization header."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, headers
    token = base64.b64encode(unquote(user).encode()).decode("ascii")
    named = {name.lower() for name in headers}
    if "authorization" not in named:
        headers = headers | {"Authorization": f"Basic {token}"}
    return urlunsplit((parts.scheme, host, parts.path, parts.query, "")), headers
