"""What is pulled, and what makes two pulls the same task.

A blob named by digest *is* its digest: the same layer from two registries or
repositories is one task. Anything else is named by its canonical URL (without the
filtered query keys), the headers that change the answer, tag, application and the
trust under which it is fetched; and it is revalidated at its source before it is
taken from a cache.
"""

from __future__ import annotations

import hashlib
from typing import NewType
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

from dragonfly.core.digest import Digest
from dragonfly.errors import UsageError

__all__ = ["INSECURE", "TaskKey", "TaskSpec", "ascii_url", "canonical_url", "shown_url"]

#: `sha256-<hex>` for a blob, `url-<hex>` for anything else: safe in paths and URLs as it is.
TaskKey = NewType("TaskKey", str)

#: `TaskSpec.trust` of a host whose certificate is not verified, by the operator's word.
INSECURE = "insecure"

#: Request headers that may change what a URL answers; others are not part of the identity.
_NAMING_HEADERS = frozenset({"accept", "accept-language", "range"})
#: What `quote` leaves as it is: all that has a meaning in some part of a URL, and what is encoded already.
_KEPT = "!#$%&'()*+,/:;=?@[]~"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def canonical_url(url: str, filters: tuple[str, ...] = ()) -> str:
    """Lower-case scheme and host, no default port, no fragment, no user, no filtered query keys; keys sorted.

    UsageError where it is no URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("not a URL", subject=shown_url(url), advice="write SCHEME://HOST/PATH") from None
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    query = sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in filters)
    return urlunsplit((parts.scheme.lower(), host, parts.path or "/", urlencode(query), ""))


def ascii_url(url: str) -> str:
    """What people write as it goes over the wire: other letters, spaces and control characters
    percent-encoded, a host's letters by IDNA; what is encoded already stays.

    UsageError where no host can be meant.
    """
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        raise UsageError("not a URL", subject=shown_url(url), advice="write SCHEME://HOST/PATH") from None
    path, query, fragment = (quote(part, safe=_KEPT) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, quote(user, safe=_KEPT) + at + host, path, query, fragment))


def shown_url(url: str) -> str:
    """The URL, or what should be one, without user, password and query values."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(f"{key}=…" for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pull as asked for: where the bytes are, what they must be, and how to be let in there."""

    url: str
    digest: str = ""
    """`sha256:<hex>` where it is known."""
    headers: dict[str, str] = {}
    """Sent to the source; may hold credentials, so `__repr__` leaves them out and nothing logs them."""
    filters: tuple[str, ...] = ()
    """Query keys that do not change the content (signatures, time stamps)."""
    tag: str = ""
    application: str = ""
    trust: str = ""
    """PEM certificates that the source's TLS is checked against besides the system's, or `INSECURE`."""
    image: str = ""
    """Names the image that it is a layer of, where that is known; no part of what the task is, nor is `layer`."""
    layer: int = 0
    """The lowest one is 1."""

    @property
    def key(self) -> TaskKey:
        if self.digest:
            digest = Digest.parse(self.digest)
            return TaskKey(f"{digest.algorithm}-{digest.hex}")
        naming = sorted((k.lower(), v) for k, v in self.headers.items() if k.lower() in _NAMING_HEADERS)
        named = msgspec.json.encode(
            (canonical_url(self.url, self.filters), naming, self.tag, self.application, self.trust)
        )
        return TaskKey(f"url-{hashlib.sha256(named).hexdigest()}")

    @property
    def shown_url(self) -> str:
        """The URL without user, password and query values: fit for logs and the API."""
        return shown_url(self.url)

    @property
    def series(self) -> str:
        """Names what is read in order with it: the layers of an image, of one repository; empty for anything else."""
        return f"{self.url.rpartition('/')[0]} {self.image}" if self.image else ""

    def __repr__(self) -> str:
        return f"<TaskSpec {self.key[:19]}… {self.shown_url}>"
