"""All checks in the order in which a pull meets what they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from dragonfly.daemon.doctor import machine, network
from dragonfly.daemon.doctor.finding import Finding, Verdict, bad, good, note
from dragonfly.daemon.doctor.runtimes import configured, means_docker_hub
from dragonfly.daemon.runtimes.host import Host
from dragonfly.wire.local import Status

__all__ = ["examine"]

_BY_ITSELF = "https://registry-1.docker.io"


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
    # A registry under its own name is asked for by containerd's ?ns=, or is the proxy's: it leads where it always did.
    names = [name.partition(":")[0] for name, url in status.maps.items() if name != urlsplit(url).netloc]
    for name in names if pem else ():
        yield from network.domain(name, tls_port, pem)
    yield from configured(host, names, pem, {port for _, port in ports}, runtimes)
    if status.supernode == "lost":
        yield bad("supernode", "no session: pulls go to the source", "see below which of them can be reached")
    for address in status.supernodes:
        yield from network.supernode(address)
    for url, name in {url: name for name, url in status.maps.items()}.items():
        yield from network.upstream(listen_host, listen_port, name, url)
    hub = means_docker_hub(host, {port for _, port in ports})
    if status.registry and status.registry not in status.maps.values():
        for finding in network.upstream(listen_host, listen_port, "", status.registry):
            # Docker Hub is what --registry says by itself: nodes that do not ask for it may well not reach it.
            spare = finding.verdict is Verdict.BAD and status.registry == _BY_ITSELF and not hub
            yield note(finding.check, finding.detail, finding.cure) if spare else finding


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return ("127.0.0.1" if host in ("0.0.0.0", "::") else host), int(port)
