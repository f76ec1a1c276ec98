"""A test's world: nodes, a registry that holds images, and Dragonfly's own programs on them."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from e2e.certificates import Authority
from e2e.images import Image
from e2e.nodes import Net, Node, Process, wait_for
from e2e.registries import Registry, start_registry
from e2e.runtimes import scratch

T = TypeVar("T")
R = TypeVar("R")

#: Where pip put the commands of the package under test.
COMMANDS = Path(sys.executable).parent
MIRROR = 65001
CONTROL = 8002


class World:
    """Nodes made on demand, all gone after `close`."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="dfe2e-", dir=scratch()))
        self.base.chmod(0o755)
        try:
            self.net = Net(self.base / "nodes")
        except BaseException:
            shutil.rmtree(self.base, ignore_errors=True)
            raise

    def node(self, name: str, *, mbit: float | None = None) -> Node:
        return self.net.node(name, mbit=mbit)

    def nodes(self, count: int, *, mbit: float | None = None) -> list[Node]:
        first = sum(name.startswith("n") and name[1:].isdigit() for name in self.net.nodes)
        return [self.node(f"n{first + i}", mbit=mbit) for i in range(count)]

    def registry(self, storage: Path, *, name: str = "registry", mbit: float | None = None) -> Registry:
        """An open registry over plain HTTP on a node of its own."""
        return start_registry(self.node(name, mbit=mbit), storage)

    def tls_registry(self, storage: Path, authority: Authority, name: str) -> Registry:
        """An open registry at https://`name`, with a certificate of `authority`."""
        return start_registry(self.node("registry"), storage, port=443, tls=authority.issue(name))

    def supernode(self, *options: str, name: str = "super", mbit: float | None = None) -> Supernode:
        return Supernode(self.node(name, mbit=mbit), options)

    def daemons(self, nodes: Iterable[Node], supernode: Supernode | None, *options: str) -> list[Daemon]:
        """A daemon on each node, started side by side."""
        made = [Daemon(node, supernode, options) for node in nodes]
        for daemon in made:
            daemon.wait()
        return made

    def close(self) -> None:
        try:
            self.net.close()
        finally:
            shutil.rmtree(self.base, ignore_errors=True)


class Supernode:
    """`supernode` on a node."""

    def __init__(self, node: Node, options: Iterable[str] = ()) -> None:
        self.node, self._options = node, tuple(options)
        self.process = self._start()
        self.wait()

    def _start(self) -> Process:
        return self.node.start(
            "supernode", COMMANDS / "supernode", "--data-dir", self.node.home / "supernode",
            "--advertise", self.node.ip, *self._options,
        )  # fmt: skip

    def wait(self) -> None:
        wait_for(lambda: not self.process.alive or self.healthy(), f"supernode on {self.node.name}")
        assert self.process.alive, self.process.output()

    def restart(self) -> None:
        self.process.stop()
        self.process = self._start()
        self.wait()

    def healthy(self) -> bool:
        return http_status(self.node, f"http://127.0.0.1:{CONTROL}/healthz") == 200

    @property
    def address(self) -> str:
        return f"{self.node.ip}:{CONTROL}"

    def api(self, path: str) -> object:
        return json.loads(http_get(self.node, f"http://127.0.0.1:{CONTROL}/api/v1/{path}"))

    def stats(self) -> dict[str, int]:
        found = self.api("stats")
        assert isinstance(found, dict)
        return found

    def metrics(self) -> str:
        return http_get(self.node, f"http://127.0.0.1:{CONTROL}/metrics").decode()


class Daemon:
    """`dfdaemon` on a node."""

    def __init__(self, node: Node, supernode: Supernode | None, options: Iterable[str] = ()) -> None:
        self.node, self._options = node, list(options)
        if supernode is not None:
            self._options += ["--supernode", supernode.address]
        self.data = node.home / "dragonfly"
        self.process = self._start()

    def _start(self) -> Process:
        return self.node.start(
            "dfdaemon", COMMANDS / "dfdaemon", "--data-dir", self.data, "--advertise", self.node.ip,
            *self._options,
        )  # fmt: skip

    def wait(self) -> None:
        wait_for(lambda: not self.process.alive or self.healthy(), f"dfdaemon on {self.node.name}")
        assert self.process.alive, self.process.output()

    def restart(self) -> None:
        self.process.stop()
        self.process = self._start()
        self.wait()

    def healthy(self) -> bool:
        return http_status(self.node, f"http://127.0.0.1:{MIRROR}/healthz") == 200

    def metrics(self) -> str:
        return http_get(self.node, f"http://127.0.0.1:{MIRROR}/metrics").decode()

    @property
    def ca(self) -> Path:
        return self.data / "ca" / "ca.crt"

    def trust_in(self, folder: str) -> None:
        """Copy the daemon's CA into a folder of its node, as `dragonfly setup` or an operator does."""
        self.node.write(f"{folder}/ca.crt", self.ca.read_bytes())


@dataclass(frozen=True)
class Fetched:
    """How one `dfget` ended."""

    status: int
    file: Path
    result: dict[str, object]
    errors: str


def dfget(node: Node, url: str, *options: str, output: str = "file", timeout: float = 120) -> Fetched:
    """Run `dfget --json` on a node, by its daemon where one runs."""
    file = node.home / output
    done = node.run(
        COMMANDS / "dfget", url, "-o", file, "--json", "--data-dir", node.home / "dragonfly", *options,
        check=False, timeout=timeout,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    result = json.loads(lines[-1]) if lines else {}
    return Fetched(done.returncode, file, result, done.stderr)


def push(node: Node, image: Image, registry: Registry, *options: str) -> str:
    """Push with skopeo; the reference as the registry knows it."""
    reference = f"{registry.host}/{image.name}:{image.tag}"
    node.run(
        "skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options,
        f"oci:{image.folder}:{image.tag}", f"docker://{reference}",
    )  # fmt: skip
    return reference


def at_once(things: Iterable[T], do: Callable[[T], R]) -> list[R]:
    """`do` with each of them, all at the same time; their results in order."""
    all_of_them = list(things)
    with ThreadPoolExecutor(len(all_of_them)) as pool:
        return list(pool.map(do, all_of_them))


def http_get(node: Node, url: str, timeout: float = 10) -> bytes:
    with node.inside(), _opener.open(url, timeout=timeout) as answer:
        data: bytes = answer.read()
        return data


def http_status(node: Node, url: str) -> int:
    """Of a GET; 0 where nobody answers."""
    try:
        with node.inside(), _opener.open(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
