"""What the operator wants of a runtime's set-up."""

from __future__ import annotations

import re

import msgspec

from dragonfly.errors import UsageError

__all__ = ["DOCKER_HUB", "Wanted", "hosts_file", "parse_domain", "registry_host"]

DOCKER_HUB = "docker.io"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?::\d{1,5})?")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """`registries` by host; `domains`: P2P domain → the registry behind it ("" where it is not said)."""

    registries: tuple[str, ...] = ()
    domains: dict[str, str] = {}
    daemon: str = "127.0.0.1:65001"
    """Where the daemon listens."""
    ca: str = ""
    """PEM of the daemon's CA."""


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


def hosts_file(before: str | None, domains: dict[str, str]) -> str | None:
    """/etc/hosts with a line for each domain that it does not name yet."""
    text = before or ""
    for domain in domains:
        name = domain.partition(":")[0]
        named = {word for line in text.splitlines() for word in line.partition("#")[0].split()[1:]}
        if name not in named:
            text += "" if not text or text.endswith("\n") else "\n"
            text += f"127.0.0.1 {name} # dragonfly\n"
    return text if before is not None or text else None
