"""The hosts of a rig: a star of network namespaces around a bridge.

One hub namespace with a bridge, N client and M server namespaces, each joined to it by a
pair of virtual interfaces with a rate limit at both ends, so that each host has a limited
upload *and* download:

    client i  [eth0: limit = upload] ──── [hub port: limit = download]  bridge

With two zones there are two bridges, and the narrow link between them; servers and the
first half of the clients are in the first zone. All addresses are 10.NET.x.y and exist in
the namespaces only. Neighbour (ARP) and bridge entries are permanent: no ARP floods over
hundreds of ports, and no overflow of the machine's neighbour table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from .links import Link
from .namespaces import RigError, inside, pids_in, remove, sysctl, tool

__all__ = ["Bytes", "Hosts", "Rig"]

_NARROW = ("za", "zb")
_HEADERS = 14 + 20 + 32
"""Ethernet, IPv4 and TCP with timestamps, in bytes."""


class Bytes(NamedTuple):
    """Bytes within TCP of one host as the host sees it: tx left the host, rx reached it."""

    tx: int
    rx: int


@dataclasses.dataclass(frozen=True)
class Hosts:
    """How many hosts, how fast, where. Rates in megabits a second."""

    clients: int
    servers: int = 2
    client_mbit: float = 10
    server_mbit: float = 100
    slow: frozenset[int] = frozenset()
    """Clients with a tenth of the rate."""
    narrow_mbit: float = 0
    """Rate of the link between the two zones; 0: one zone."""

    def names(self) -> list[str]:
        return [f"c{i}" for i in range(self.clients)] + [f"s{i}" for i in range(self.servers)]

    def rate(self, host: str) -> float:
        if host[0] == "s":
            return self.server_mbit
        return self.client_mbit / 10 if int(host[1:]) in self.slow else self.client_mbit

    def zone(self, host: str) -> int:
        """0, or 1 for the second half of the clients where there are two zones."""
        return int(bool(self.narrow_mbit) and host[0] == "c" and int(host[1:]) >= (self.clients + 1) // 2)


class Rig:
    """The hosts, while the `with` block lasts."""

    def __init__(self, hosts: Hosts, *, prefix: str = "dfb", net: int = 78, link: Link | None = None) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{1,7}", prefix):
            raise ValueError("prefix: 2 to 8 small letters and digits, a letter first")
        if not (0 <= hosts.clients <= 900 and 0 <= hosts.servers <= 100):
            raise ValueError("up to 900 clients and 100 servers: a Linux bridge has 1024 ports")
        self.hosts = hosts
        self.prefix = prefix
        self.link = link or Link()
        self.hub_ip = f"10.{net}.255.254"
        self.processes: list[subprocess.Popen[bytes]] = []
        self._net = net
        self._lock: io.TextIOBase | None = None

    # ---------------------------------------------------------------- addresses

    def ip(self, host: str) -> str:
        """Address of "c3", "s0" or "hub"."""
        if host == "hub":
            return self.hub_ip
        number = int(host[1:])
        return (
            f"10.{self._net}.{number // 250}.{number % 250 + 1}"
            if host[0] == "c"
            else f"10.{self._net}.254.{number + 1}"
        )

    def namespace(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    # ---------------------------------------------------------------- life

    def __enter__(self) -> Self:
        lock = open(f"/run/{self.prefix}.rig.lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise RigError(f"a rig with prefix {self.prefix!r} is in use; choose another --prefix") from None
        self._lock = lock
        try:
            remove(self.prefix)
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop_all()
            remove(self.prefix)
        finally:
            if self._lock:
                self._lock.close()

    def _build(self) -> None:
        hub = self.namespace("hub")
        names = self.hosts.names()
        tool("ip", "-batch", "-", text="".join(f"netns add {self.namespace(x)}\n" for x in ["hub", *names]))
        bridges = "link set lo up\n" + "".join(
            f"link add br{zone} address {_mac(self._bridge_ip(zone))} type bridge stp_state 0 mcast_snooping 0\n"
            for zone in range(2 if self.hosts.narrow_mbit else 1)
        )
        tool("ip", "-n", hub, "-batch", "-", text=bridges)
        with inside(hub):
            self._quiet_kernel()
            for leaf in ("iptables", "ip6tables", "arptables"):
                sysctl(f"net/bridge/bridge-nf-call-{leaf}", "0", must=False)
            ip, fdb, tc = self._hub_lines(names)
            tool("ip", "-batch", "-", text=ip)
            tool("bridge", "-batch", "-", text=fdb)
            tool("tc", "-batch", "-", text=tc)
        everyone = [("hub", self.hub_ip)] + [(x, self.ip(x)) for x in names]
        arp = [(x, f"neigh add {ip} lladdr {_mac(ip)} dev eth0 nud permanent\n") for x, ip in everyone]
        for host in names:
            with inside(self.namespace(host)):
                self._quiet_kernel()
                setup = f"link set lo up\naddr add {self.ip(host)}/16 dev eth0\n"
                setup += f"link set eth0 {self.link.gso_words} up\n"
                tool("ip", "-batch", "-", text=setup + "".join(line for x, line in arp if x != host))
                tool("tc", "-batch", "-", text=self.link.tc("eth0", self.hosts.rate(host), local=True))

    def _hub_lines(self, names: list[str]) -> tuple[str, str, str]:
        """Batches for `ip`, `bridge` and `tc` inside the hub."""
        hosts, link = self.hosts, self.link
        ip = [f"addr add {self.hub_ip}/16 dev br0\nlink set br0 up\n"]
        fdb, tc = [], []
        if hosts.narrow_mbit:
            near, far = _NARROW
            ip.append(f"link set br1 up\nlink add {near} type veth peer name {far}\n")
            for port, zone in ((near, 0), (far, 1)):
                ip.append(f"link set {port} {link.gso_words} master br{zone} up\n")
                ip.append(f"link set {port} type bridge_slave learning off flood off\n")
                tc.append(link.tc(port, hosts.narrow_mbit, local=False))
            fdb.append(f"fdb add {_mac(self.hub_ip)} dev {far} master static\n")
        for host in names:
            mac, zone = _mac(self.ip(host)), hosts.zone(host)
            ip.append(
                f"link add {host} mtu {link.mtu} type veth peer name eth0 address {mac} "
                f"mtu {link.mtu} netns {self.namespace(host)}\n"
                f"link set {host} {link.gso_words} master br{zone} up\n"
                f"link set {host} type bridge_slave learning off flood off\n"
                f"neigh add {self.ip(host)} lladdr {mac} dev br0 nud permanent\n"
            )
            fdb.append(f"fdb add {mac} dev {host} master static\n")
            if hosts.narrow_mbit:
                fdb.append(f"fdb add {mac} dev {_NARROW[1 - zone]} master static\n")
            tc.append(link.tc(host, hosts.rate(host), local=False))
        return "".join(ip), "".join(fdb), "".join(tc)

    def _bridge_ip(self, zone: int) -> str:
        return self.hub_ip if zone == 0 else f"10.{self._net}.255.253"

    def _quiet_kernel(self) -> None:
        """This thread's namespace: no IPv6 chatter, and TCP has no memory of earlier runs."""
        sysctl("net/ipv6/conf/all/disable_ipv6", "1")
        sysctl("net/ipv4/tcp_congestion_control", self.link.congestion_control)
        sysctl("net/ipv4/tcp_no_metrics_save", "1")

    # ---------------------------------------------------------------- processes

    def start(self, host: str, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        """Start argv on a host ("c3", "s0", "hub") as the leader of its own process group."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        with inside(self.namespace(host)):
            process = subprocess.Popen(list(argv), start_new_session=True, **popen)
        self.processes.append(process)
        return process

    def kill_host(self, host: str) -> None:
        """End every process of a host at once, as a power cut would."""
        for pid in pids_in([self.namespace(host)]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop_all(self, grace_s: float = 3.0) -> None:
        """End every process group started through this rig and reap its leader."""
        _signal_groups(self.processes, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_groups([process], signal.SIGKILL)
                process.wait()
        self.processes.clear()

    # ---------------------------------------------------------------- counters

    def counters(self) -> dict[str, Bytes]:
        """Bytes of each host, and of the narrow link as "narrow" (tx: into the second zone).

        Read from the hub's ports, without headers: how many packets the kernel counts headers for depends on
        how many it sends as one, which is up to 45 on a fast link and one or two on a slow one.
        """
        with inside(self.namespace("hub")):
            text = Path("/proc/thread-self/net/dev").read_text()
        found: dict[str, Bytes] = {}
        for line in text.splitlines()[2:]:
            name, _, rest = line.partition(":")
            cells = [int(cell) for cell in rest.split()]
            received, sent = (cells[at] - _HEADERS * cells[at + 1] for at in (0, 8))
            if re.fullmatch(r"[cs]\d+", name.strip()):
                found[name.strip()] = Bytes(tx=received, rx=sent)
            elif name.strip() == _NARROW[0]:
                found["narrow"] = Bytes(tx=sent, rx=received)
        return found


def _mac(ip: str) -> str:
    return "02:00:" + ":".join(f"{int(x):02x}" for x in ip.split("."))


def _signal_groups(processes: Sequence[subprocess.Popen[bytes]], how: signal.Signals) -> None:
    for process in processes:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
