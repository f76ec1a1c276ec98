"""Everything that the settings decide, checked and ready for use.

Immutable: a reload makes a new one, or fails and leaves the old; a request keeps the one
it began with. UsageError from the constructor names what is wrong.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dragonfly.core.task import INSECURE
from dragonfly.daemon.rules import HijackList, Rules, WhiteList
from dragonfly.daemon.settings import DaemonSettings, Hijack, Registry
from dragonfly.errors import UsageError

__all__ = ["Login", "Policy", "Target", "Upstream"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Where images called `docker.io/…` are: the name is older than its registry's host.
_DOCKER_HUB = "https://registry-1.docker.io"
_DOCKER_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class Login(NamedTuple):
    """What the operator gave for clients that bring nothing of their own."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"<Login {self.username}>"


class Target(NamedTuple):
    """One URL base that can be asked, and how."""

    base: str
    """Scheme, host and path prefix, without a final slash."""
    trust: str = ""
    """As `TaskSpec.trust`."""
    login: Login | None = None

    def __repr__(self) -> str:
        return f"<Target {self.base}>"

    @property
    def netloc(self) -> str:
        return urlsplit(self.base).netloc


class Upstream(NamedTuple):
    """A registry: where it is asked, in order. The last one is the registry itself."""

    targets: tuple[Target, ...]

    @property
    def itself(self) -> Target:
        return self.targets[-1]


class _Known(NamedTuple):
    """What the settings say of one host."""

    trust: str = ""
    insecure: bool = False
    login: Login | None = None


class Policy:
    def __init__(self, settings: DaemonSettings) -> None:
        self.settings = settings
        self.rules = Rules(settings.rules)
        self.hijack = HijackList(settings.hijack)
        self.permitted = WhiteList(settings.permit)
        self._ca = _certificates(settings.upstream_ca)
        self._hijack_ca = {
            entry: "".join(_certificates(file) for file in (entry.ca, *entry.certs)) for entry in settings.hijack
        }
        self._insecure = frozenset(host.lower() for host in settings.insecure_upstream)
        self._entries: dict[str, Registry] = {}
        self._known: dict[str, _Known] = {}
        for entry in settings.registries:
            self._learn(entry)
        self._maps = {domain.lower(): self._upstream(checked_url("map", url)) for domain, url in settings.map.items()}
        self.default = self._upstream(checked_url("registry", settings.registry))
        named = (self._upstream(entry.upstream or f"https://{entry.host}") for entry in settings.registries)
        self._origins = frozenset(
            origin_of(target.base)
            for upstream in (*self._maps.values(), self.default, *named)
            for target in upstream.targets
        )

    @property
    def domains(self) -> frozenset[str]:
        """P2P domains, without ports."""
        return frozenset(split_host(domain)[0] for domain in self._maps)

    def mapped(self, host: str) -> Upstream | None:
        """The upstream of a P2P domain, by the Host of a request (its port may be left out in the map)."""
        host = host.lower()
        return self._maps.get(host) or self._maps.get(split_host(host)[0])

    def permits(self, url: str) -> bool:
        """Whether the white list lets the host of this URL be asked; ValueError where its port is no number."""
        return self.permitted.allows(split_host(_netloc(url))[0], port_of(url))

    def vouches_for(self, url: str) -> bool:
        """Whether the origin of this URL is a registry, or a mirror of one, that the settings name."""
        return origin_of(url) in self._origins

    def is_registry(self, host: str) -> bool:
        """Whether the settings say anything of this registry."""
        return host.lower() in self._entries

    def named(self, namespace: str) -> Upstream:
        """The upstream that containerd means by `ns=`; UsageError where that is no host."""
        namespace = namespace.lower()
        mapped = self.mapped(namespace)
        if mapped is not None:
            return mapped
        host, _ = split_host(namespace)
        if not host or any(sign in namespace for sign in "/@?#\\ "):
            raise UsageError("not a registry", subject=f"ns={namespace}", advice="write HOST or HOST:PORT")
        if namespace in _DOCKER_NAMES:
            return self._upstream(_DOCKER_HUB)
        # As containerd does: plain HTTP for this machine itself.
        return self._upstream(f"{'http' if is_loopback(host) else 'https'}://{namespace}")

    def direct(self, origin: str, hijacked: Hijack | None = None) -> Target:
        """How the origin of an absolute URL is asked: no mirrors, it was named on purpose."""
        known = self._of(origin)
        if known.insecure or (hijacked is not None and hijacked.insecure):
            return Target(origin, INSECURE, known.login)
        own = self._hijack_ca[hijacked] if hijacked is not None else ""
        return Target(origin, own + known.trust + self._ca, known.login)

    def _learn(self, entry: Registry) -> None:
        where = f"registries {entry.host!r}"
        if not split_host(entry.host)[0]:
            raise UsageError("a registry without a host", subject=where, advice="give it `host: NAME`")
        known = _Known(_certificates(entry.ca), entry.insecure, _login(entry))
        names = {entry.host.lower()}
        if entry.host.lower() in _DOCKER_NAMES:
            names.add(_netloc(_DOCKER_HUB))
        if entry.upstream:
            names.add(_netloc(checked_url(where, entry.upstream)))
        for name in names:
            self._entries[name] = entry
            self._known[name] = known
        for mirror in entry.mirrors:
            # Its CA is the registry's where nothing else is said; its password is not.
            self._known.setdefault(_netloc(checked_url(where, mirror)), known._replace(login=None))

    def _upstream(self, url: str) -> Upstream:
        entry = self._entries.get(_netloc(url))
        if entry is None:
            return Upstream((self.direct(url),))
        bases = (*entry.mirrors, entry.upstream or url)
        return Upstream(tuple(self.direct(base.rstrip("/")) for base in bases))

    def _of(self, url: str) -> _Known:
        netloc = _netloc(url)
        host = split_host(netloc)[0]
        known = self._known.get(netloc) or self._known.get(host) or _Known()
        return known._replace(insecure=True) if {netloc, host} & self._insecure else known


def checked_url(where: str, url: str) -> str:
    """An http or https URL with a host, without its final slash; UsageError otherwise."""
    advice = "write https://HOST[:PORT] or http://HOST[:PORT]"
    try:
        parts = urlsplit(url)
        good = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise UsageError("not a URL", subject=f"{where}: {url!r}", advice=f"{advice} ({error})") from None
    if not good or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError("not the URL of a registry", subject=f"{where}: {url!r}", advice=advice)
    return url.rstrip("/")


def split_host(netloc: str) -> tuple[str, int | None]:
    """`host:port`, `[v6]:port`, `host` → host without brackets, port or None. ("", None) for nonsense."""
    try:
        parts = urlsplit(f"//{netloc}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def origin_of(url: str) -> str:
    """Scheme and host with its port if that is not the scheme's own: what two URLs of one server share."""
    parts = urlsplit(url)
    port = parts.port
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        shown += f":{port}"
    return f"{parts.scheme}://{shown}"


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _netloc(url: str) -> str:
    return origin_of(url).partition("://")[2] if url else ""


def _login(entry: Registry) -> Login | None:
    if not entry.username:
        return None
    if entry.password_env:
        password = os.environ.get(entry.password_env)
        if password is None:
            raise UsageError(
                "the password of a registry is not there",
                subject=f"{entry.host}: ${entry.password_env}",
                advice="set the environment variable",
            )
    elif entry.password_file:
        password = _text(entry.password_file).rstrip("\n")
    else:
        raise UsageError(
            "a user name without a password", subject=entry.host, advice="give password_env or password_file"
        )
    return Login(entry.username, password)


def _certificates(file: str) -> str:
    """The PEM text of a file, "" for no file; UsageError where it holds no certificate."""
    if not file:
        return ""
    text = _text(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError("not PEM certificates", subject=file, advice=str(error)) from None
    return text if text.endswith("\n") else text + "\n"


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError("a file can't be read", subject=f"{file} ({reason})", advice="check path and rights") from None
