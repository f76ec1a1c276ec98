"""Nodes: this machine divided into many, joined by a bridge.

A node is a network, mount and pid namespace of its own with a private /etc, /run, /var/lib and HOME.
All of a node's processes live below its first one, so the kernel ends them with it, whatever
became of the test run: nothing is left behind and nothing outside the namespaces is changed.

Rates are shaped by tbf on both ends of a node's cable (this works on kernels without netem).
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

_NODE_SETUP = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/etc,upperdir="$1/etc",workdir="$1/etc.work" /etc 2>/dev/null || {
  cp -a /etc/. "$1/etc/"; mount --bind "$1/etc" /etc; }
mount -t overlay overlay -o lowerdir=/var/lib,upperdir="$1/lib",workdir="$1/lib.work" /var/lib 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p /run/lock
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null || true
ip link set lo up
touch "$1/ready"
trap : TERM INT
while :; do sleep 3600 & wait $! || true; done
"""


class NodeError(AssertionError):
    """A command on a node failed, or something there did not come up."""


class Process:
    """A program that runs on a node; its output goes to a file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.popen, self.log = name, popen, log

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def pid(self) -> int:
        """Of the program itself, as the machine numbers it (nsenter is its parent)."""
        return _only_child(self.popen.pid)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, sig: int = signal.SIGTERM, patience: float = 15.0) -> int:
        """Ask it to end, insist after `patience` seconds; its exit status."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, NodeError):
                os.kill(self.pid, sig)
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.wait(5)

    def kill(self) -> None:
        """End it at once, with no chance to say goodbye."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(5)

    def __repr__(self) -> str:
        return f"<Process {self.name} {'running' if self.alive else f'ended {self.popen.returncode}'}>"


class Node:
    """One machine of the test's world. Files of it are reached with `path`, from outside."""

    def __init__(self, name: str, ip: str, home: Path, net: Net) -> None:
        self.name, self.ip, self.net = name, ip, net
        self.home = home
        self.processes: list[Process] = []
        for folder in ("etc", "etc.work", "lib", "lib.work", "home"):
            (home / folder).mkdir(parents=True)
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork",
             "--kill-child=SIGKILL", "--mount-proc", "sh", "-c", _NODE_SETUP, "sh", str(home)],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(lambda: (home / "ready").exists(), f"node {name}")
        self.pid = _only_child(self._holder.pid)

    # -- files

    def path(self, path: str | Path) -> Path:
        """Where a path of the node is for this process."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def write(self, path: str, text: str | bytes) -> Path:
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        return target

    def knows(self, **names: str) -> None:
        """Lines for /etc/hosts: knows(**{"registry.p2p": "127.0.0.1"})."""
        known = self.path("/etc/hosts")
        lines = [f"{address} {name}" for name, address in names.items()]
        known.write_text(known.read_text() + "\n".join(lines) + "\n")

    # -- programs

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return environment() | {"HOME": str(self.home / "home")} | dict(more or {})

    def _enter(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "--", *argv]

    def run(
        self, *argv: str | Path, check: bool = True, timeout: float = 120, stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program to its end; NodeError with its words where it fails and `check` is set."""
        process = subprocess.Popen(
            self._enter([str(a) for a in argv]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=self._environment(env), start_new_session=True,
        )  # fmt: skip
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise NodeError(
                f"{self.name}: {_words(argv)}: not done after {timeout} s\n{out[-2000:]}\n{err[-4000:]}"
            ) from None
        if check and process.returncode != 0:
            raise NodeError(f"{self.name}: {_words(argv)}: status {process.returncode}\n{out[-2000:]}\n{err[-4000:]}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, name: str, *argv: str | Path, env: Mapping[str, str] | None = None) -> Process:
        """Start a program that goes on running."""
        log = self.home / f"{name}.log"
        with log.open("ab") as sink:
            popen = subprocess.Popen(
                self._enter([str(a) for a in argv]), stdin=subprocess.DEVNULL, stdout=sink,
                stderr=subprocess.STDOUT, env=self._environment(env), start_new_session=True,
            )  # fmt: skip
        process = Process(f"{self.name}/{name}", popen, log)
        self.processes.append(process)
        return process

    # -- network

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are the node's."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(there)
            os.close(home)

    def listens(self, port: int, address: str = "127.0.0.1") -> bool:
        with self.inside(), socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((address, port)) == 0

    def sent(self) -> int:
        """Bytes that left this node, headers included."""
        return self._counter(9)

    def received(self) -> int:
        """Bytes that reached this node, headers included."""
        return self._counter(1)

    def _counter(self, column: int) -> int:
        for line in Path(f"/proc/{self.pid}/net/dev").read_text().splitlines():
            cells = line.replace(":", ": ").split()
            if cells[0] == "eth0:":
                return int(cells[column])
        raise NodeError(f"{self.name} has no eth0")

    def limit(self, mbit: float) -> None:
        """Both directions of the cable carry at most `mbit` Mb/s from now on."""
        shape = ["root", "tbf", "rate", f"{mbit}mbit", "burst", str(max(16_000, int(mbit * 500)))]
        self.net.hub("tc", "qdisc", "replace", "dev", self.name, *shape, "limit", "400000")
        self.run("tc", "qdisc", "replace", "dev", "eth0", *shape, "limit", "4000000")

    def unplug(self) -> None:
        """Pull the cable."""
        self.net.hub("ip", "link", "set", self.name, "down")

    def plug(self) -> None:
        self.net.hub("ip", "link", "set", self.name, "up")

    def close(self) -> None:
        for process in self.processes:
            if process.alive:
                process.stop(patience=3)
        _end(self._holder)

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.ip}>"


class Net:
    """A bridge, and the nodes that are plugged into it. Leave it by `close`."""

    def __init__(self, base: Path, subnet: str = "10.99.0.0/16") -> None:
        self.base = base
        self.nodes: dict[str, Node] = {}
        self._subnet = ipaddress.ip_network(subnet)
        self._addresses = self._subnet.hosts()
        self._hub = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        own = os.stat("/proc/self/ns/net").st_ino
        wait_for(lambda: os.stat(f"/proc/{self._hub.pid}/ns/net").st_ino != own, "the hub")
        self.hub("ip", "link", "set", "lo", "up")
        self.hub("ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        self.hub("ip", "link", "set", "br0", "up")

    def hub(self, *argv: str) -> str:
        """Run a tool in the bridge's namespace."""
        done = subprocess.run(["nsenter", "-t", str(self._hub.pid), "-n", "--", *argv], capture_output=True, text=True)
        if done.returncode != 0:
            raise NodeError(f"hub: {_words(argv)}: {done.stderr.strip()}")
        return done.stdout

    def node(self, name: str, *, mbit: float | None = None) -> Node:
        """A further node; `mbit` limits its cable in both directions."""
        ip = str(next(self._addresses))
        node = Node(name, ip, self.base / name, self)
        self.nodes[name] = node
        self.hub("ip", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
        self.hub("ip", "link", "set", "dev", name, "master", "br0", "up")
        node.run("ip", "addr", "add", f"{ip}/{self._subnet.prefixlen}", "dev", "eth0")
        node.run("ip", "link", "set", "eth0", "up")
        # A default route, or Go's and Python's resolvers find "network unreachable" first.
        node.run("ip", "route", "add", "default", "dev", "eth0")
        node.write("/etc/hosts", f"127.0.0.1 localhost\n{ip} {name}\n")
        resolv = node.path("/etc/resolv.conf")
        resolv.unlink(missing_ok=True)
        resolv.write_text("")
        if mbit is not None:
            node.limit(mbit)
        return node

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
        _end(self._hub)

    def logs(self, lines: int = 40) -> str:
        """The last lines of every program of every node, for the report of a failed test."""
        parts = []
        for node in self.nodes.values():
            for process in node.processes:
                tail = process.output().splitlines()[-lines:]
                parts.append(f"--- {process!r}\n" + "\n".join(tail))
        return "\n".join(parts)


def environment() -> dict[str, str]:
    """What programs on nodes get: no proxy, credential or certificate setting of this machine."""
    kept = {"PATH", "LANG", "TERM", "TMPDIR", "PYTHONDONTWRITEBYTECODE"}
    env = {name: value for name, value in os.environ.items() if name in kept}
    env["PATH"] = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"  # Debian's programs, no shims
    return env


def wait_for(condition: object, what: str, timeout: float = 20.0, every: float = 0.05) -> None:
    """Until `condition()` is true. NodeError that names `what` after `timeout` seconds."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise NodeError(f"not there after {timeout} s: {what}")
        time.sleep(every)


def missing_means() -> str:
    """Why there can be no nodes here; empty where there can."""
    if os.geteuid() != 0:
        return "end-to-end tests need root: network and mount namespaces (try: sudo make e2e)"
    for tool in ("ip", "tc", "nsenter", "unshare", "setpriv"):
        if shutil.which(tool, path=environment()["PATH"]) is None:
            return f"end-to-end tests need `{tool}` (make e2e-packages installs what they use)"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "ip", "link", "add", "dfprobe",
         "type", "veth", "peer", "name", "dfprobe2"], capture_output=True, text=True,
    )  # fmt: skip
    return f"no namespaces or veth here: {probe.stderr.strip()}" if probe.returncode else ""


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


def _only_child(pid: int) -> int:
    for _ in range(100):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            break
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise NodeError(f"process {pid} has no child")


def _end(popen: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait(10)


def _words(argv: Sequence[str | Path]) -> str:
    return " ".join(str(a) for a in argv)
