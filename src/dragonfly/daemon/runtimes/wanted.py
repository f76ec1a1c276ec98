"""What the operator wants of a runtime's set-up."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from dragonfly.errors import UsageError

__all__ = ["DOCKER_HUB", "HOSTS", "Wanted", "hosts_file", "parse_domain", "registry_host", "without_names"]

DOCKER_HUB = "docker.io"
HOSTS = "/etc/hosts"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?::\d{1,5})?")
_MARK = "# dragonfly"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """`registries` by host; `domains`: P2P domain → the registry behind it ("" where it is not said)."""

    registries: tuple[str, ...] = ()
    domains: dict[str, str] = {}
    plain: frozenset[str] = frozenset()
    """Those of the registries that speak plain HTTP."""
    daemon: str = "127.0.0.1:65001"
    """Where the daemon listens."""
    former: tuple[str, ...] = ()
    """Where earlier setups said that it listens."""
    ca: str = ""
    """PEM of the daemon's CA."""

    @property
    def names(self) -> tuple[str, ...]:
        """The domains without their ports."""
        return tuple(domain.partition(":")[0] for domain in self.domains)

    @property
    def moved(self) -> tuple[str, ...]:
        """Addresses of which runtimes must no longer be told."""
        return tuple(address for address in self.former if address != self.daemon)

    def url(self, registry: str) -> str:
        """Of the registry itself, past the daemon."""
        host = "registry-1.docker.io" if registry == DOCKER_HUB else registry
        return f"{'http' if registry in self.plain else 'https'}://{host}"


def registry_host(text: str) -> str:
    """`registry.example.com[:PORT]`, also with http(s):// before it; UsageError for what is none."""
    host = re.sub(r"^https?://", "", text.strip()).rstrip("/")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DOCKER_HUB
    if not _NAME.fullmatch(host):
        raise UsageError("not a registry", subject=repr(text), advice="write HOST or HOST:PORT")
    return host


def parse_domain(text: str) -> tuple[str, str]:
    """`DOMAIN[:PORT]` or `DOMAIN[:PORT]=REGISTRY`."""
    domain, equals, registry = text.partition("=")
    return registry_host(domain), registry_host(registry) if equals else ""


def hosts_file(before: str | None, names: Iterable[str]) -> str | None:
    """/etc/hosts with a line for each name that it does not say yet."""
    text = before or ""
    for name in names:
        named = {word for line in text.splitlines() for word in line.partition("#")[0].split()[1:]}
        if name not in named:
            text += "" if not text or text.endswith("\n") else "\n"
            text += f"{_line(name)}\n"
    return text if before is not None or text else None


def without_names(before: bytes | None, names: Iterable[str]) -> bytes | None:
    """/etc/hosts without the lines that `hosts_file` had added for these."""
    lines = {_line(name).encode() for name in names}
    if before is None or not lines:
        return before
    return b"".join(line for line in before.splitlines(keepends=True) if line.strip() not in lines)


def _line(name: str) -> str:
    return f"127.0.0.1 {name} {_MARK}"
