"""Real registries on nodes: Debian's docker-registry, open or with basic or token authentication."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.certificates import Authority
from e2e.nodes import Node, Process, wait_for

#: method, path, status, bytes of the body, user agent
_ACCESS = re.compile(
    r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3}) (?P<size>\d+) '
    r'"[^"]*" "(?P<agent>[^"]*)"'
)


@dataclass(frozen=True)
class Access:
    method: str
    path: str
    status: int
    size: int
    agent: str


class Registry:
    """A running docker-registry on a node."""

    def __init__(self, node: Node, process: Process, port: int, *, tls: bool, tokens: Tokens | None) -> None:
        self.node, self.process, self.port, self.tls, self.tokens = node, process, port, tls, tokens
        self._seen = 0

    @property
    def host(self) -> str:
        return f"{self.node.ip}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def accesses(self) -> list[Access]:
        """Every request that it answered, oldest first."""
        return [
            Access(m["method"], m["path"], int(m["status"]), int(m["size"]), m["agent"])
            for m in _ACCESS.finditer(self.process.output())
        ]

    def mark(self) -> None:
        """`new_accesses` and `blob_bytes` count from here."""
        self._seen = len(self.accesses())

    def new_accesses(self) -> list[Access]:
        return self.accesses()[self._seen :]

    def blob_bytes(self) -> int:
        """Bytes of blobs' bodies that it sent since `mark`."""
        return sum(a.size for a in self.new_accesses() if a.method == "GET" and "/blobs/" in a.path)

    def fetchers(self) -> set[str]:
        """Who got blobs from it since `mark`, by the first word of the user agent. HEAD does not count:
        the daemon asks so in its client's name whether the client may."""
        blobs = [a for a in self.new_accesses() if a.method == "GET" and "/blobs/" in a.path]
        return {a.agent.partition("/")[0] for a in blobs}

    def body_bytes(self) -> int:
        """Bytes of all bodies that it sent since `mark`."""
        return sum(a.size for a in self.new_accesses() if a.method == "GET")


class Tokens:
    """A token server; `grant` and `revoke` change rights while it runs."""

    service = "e2e-registry"
    issuer = "e2e-tokens"

    def __init__(self, node: Node, port: int, authority: Authority) -> None:
        self.node, self.port = node, port
        self.bundle = authority.certificate
        self._state = node.home / "tokens.json"
        self._data: dict[str, dict[str, object]] = {"users": {}, "rights": {}}
        self._save()
        cert, key = authority.issue("e2e-token-signer")
        script = Path(__file__).with_name("tokens.py")
        self.process = node.start(
            "tokens", sys.executable, script, str(port), self.issuer, self.service, cert, key, self._state
        )
        wait_for(lambda: node.listens(port), "the token server")

    @property
    def realm(self) -> str:
        return f"http://{self.node.ip}:{self.port}/token"

    def user(self, name: str, password: str, *repositories: str) -> None:
        """A user who may pull (and push) these; "" is anybody."""
        if name:
            self._data["users"][name] = password
        self._data["rights"][name] = list(repositories)
        self._save()

    def _save(self) -> None:
        self._state.write_text(json.dumps(self._data))


def start_registry(
    node: Node, storage: Path, *, port: int = 5000, users: dict[str, str] | None = None,
    tokens: Tokens | None = None, tls: tuple[Path, Path] | None = None, name: str = "registry",
) -> Registry:  # fmt: skip
    """Start a registry over `storage`; `users` = basic authentication, `tokens` = token authentication."""
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {"addr": f"0.0.0.0:{port}"},
    }
    if tls:
        config["http"] = {
            "addr": f"0.0.0.0:{port}",
            "tls": {"certificate": str(tls[0]), "key": str(tls[1])},
        }
    if users is not None:
        htpasswd = node.home / f"{name}.htpasswd"
        htpasswd.write_text("")
        for user, password in users.items():
            line = node.run("htpasswd", "-nbB", "-C", "4", user, password).stdout.strip()
            htpasswd.write_text(htpasswd.read_text() + line + "\n")
        config["auth"] = {"htpasswd": {"realm": "e2e", "path": str(htpasswd)}}
    if tokens is not None:
        config["auth"] = {
            "token": {
                "realm": tokens.realm,
                "service": tokens.service,
                "issuer": tokens.issuer,
                "rootcertbundle": str(tokens.bundle),
            }
        }
    file = node.home / f"{name}.yml"
    file.write_text(yaml.safe_dump(config))
    storage.mkdir(parents=True, exist_ok=True)
    process = node.start(name, "docker-registry", "serve", file, env={"OTEL_TRACES_EXPORTER": "none"})
    wait_for(lambda: node.listens(port) or not process.alive, f"{name} on {node.name}")
    assert process.alive, process.output()
    return Registry(node, process, port, tls=tls is not None, tokens=tokens)
