"""All checks in the order in which a pull meets what they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dragonfly.daemon.doctor import machine, network
from dragonfly.daemon.doctor.finding import Finding, bad, good
from dragonfly.daemon.doctor.runtimes import configured
from dragonfly.daemon.runtimes.plan import Host
from dragonfly.wire.local import Status

__all__ = ["examine"]


def examine(data_dir: Path, status: Status | None, host: Host, runtimes: Sequence[str] = ()) -> Iterator[Finding]:
    """`status` is the daemon's own word; None where none answers at its socket.
    `runtimes` must be set up; others that are here are looked at, too."""
    if status is None:
        yield bad(
            "daemon", f"none answers at {data_dir}", "start dfdaemon, or name its --data-dir; may you use its socket?"
        )
        yield from machine.disk(data_dir)
        return
    yield good("daemon", f"dfdaemon {status.version}, process {status.pid}")
    yield from machine.descriptors(status.pid)
    yield from machine.disk(data_dir)
    ca = Path(status.ca)
    yield from machine.authority(ca)
    ports = [_split(text) for text in status.listen.split(",") if text]
    listen_host, listen_port = ports[0]
    yield from network.health(listen_host, listen_port)
    pem = ca.read_text() if ca.is_file() else ""
    tls_port = next((port for _, port in ports if port == 443), ports[-1][1])
    names = [name.partition(":")[0] for name in status.maps]
    for name in names if pem else ():
        yield from network.domain(name, tls_port, pem)
    yield from configured(host, names, pem, {port for _, port in ports}, runtimes)
    if status.supernode == "lost":
        yield bad("supernode", "no session: pulls go to the source", "see below which of them can be reached")
    for address in status.supernodes:
        yield from network.supernode(address)
    for name, url in status.maps.items():
        yield from network.upstream(listen_host, listen_port, name, url)
    if status.registry:
        yield from network.upstream(listen_host, listen_port, "", status.registry)


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return ("127.0.0.1" if host in ("0.0.0.0", "::") else host), int(port)
