"""Names, ports, TLS, the supernode and the registries: each asked as a client would."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from dragonfly.daemon.doctor.finding import Finding, bad, good, note

__all__ = ["clock", "domain", "health", "supernode", "upstream", "upstream_cure"]

_PATIENCE_S = 5.0
_CLOCK_S = 30.0


def health(host: str, port: int) -> Iterator[Finding]:
    """The daemon's port answers as the daemon."""
    where = f"http://{host}:{port}/healthz"
    try:
        status, _, _ = _get(host, port, "/healthz", {})
    except OSError as error:
        yield bad("port", f"{where}: {error}", "see the daemon's log; is there a firewall on loopback?")
        return
    if status == 200:
        yield good("port", f"{where} answers")
    else:
        yield bad("port", f"{where} answers {status}", "another program listens there; choose another --listen")


def domain(name: str, port: int, ca_pem: str) -> Iterator[Finding]:
    """A P2P domain leads to this machine, and its TLS is what the CA vouches for."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        cure = f"dragonfly setup docker --domain {name}, or: echo 127.0.0.1 {name} >> /etc/hosts"
        yield bad(f"name {name}", f"it does not resolve ({error.strerror})", cure)
        return
    elsewhere = sorted(address for address in found if not ipaddress.ip_address(address).is_loopback)
    if elsewhere:
        yield bad(
            f"name {name}", f"it leads to {', '.join(elsewhere)}", f"let {name} resolve to 127.0.0.1 on every node"
        )
        return
    yield good(f"name {name}", f"leads to {', '.join(sorted(found))}")
    context = ssl.create_default_context(cadata=ca_pem)
    try:
        with socket.create_connection((name, port), _PATIENCE_S) as raw, context.wrap_socket(raw, server_hostname=name):
            pass
    except ssl.SSLError as error:
        yield bad(
            f"TLS {name}:{port}", f"{error.reason or error}", "another program listens there, or the CA was made anew"
        )
    except OSError as error:
        yield bad(f"TLS {name}:{port}", str(error), f"start dfdaemon with --tls-listen 127.0.0.1:{port}")
    else:
        yield good(f"TLS {name}:{port}", "the daemon's certificate is vouched for by its CA")


def upstream(host: str, port: int, name: str, url: str) -> Iterator[Finding]:
    """A registry, asked through the daemon as a runtime asks; `name` is the Host by which it is meant."""
    check = f"registry {url}"
    try:
        status, headers, body = _get(host, port, "/v2/", {"Host": name} if name else {})
    except OSError as error:
        yield bad(check, str(error), "see the daemon's log")
        return
    if status in (200, 401):
        yield good(check, "answers" if status == 200 else "answers, and asks who we are")
        yield from clock(check, headers)
    elif own := headers.get("X-Dragonfly-Error"):
        yield bad(check, own, upstream_cure(url, own))
    else:
        detail = body[:200].decode("utf-8", "replace").strip().replace("\n", " ")
        yield bad(check, f"answers {status} {detail}", "is this a registry? its /v2/ should say 200 or 401")


def upstream_cure(url: str, said: str) -> str:
    """By what the daemon said of its own try."""
    host = urlsplit(url).hostname or url
    words = said.lower()
    if "certificate" in words or "tls" in words or "ssl" in words:
        return f"dfdaemon --upstream-ca FILE with the registry's CA, or --insecure-upstream {host}"
    if "resolve" in words:
        return f"is the name right, and does this node's DNS know {host}?"
    if "refused" in words or "reach" in words or "timed out" in words or "no answer" in words:
        return f"does it run? does a firewall or a proxy stand between this node and {host}?"
    return "see what it says; is it the right URL, and reachable from this node?"


def supernode(address: str) -> Iterator[Finding]:
    """One supernode, asked directly."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        status, headers, _ = _get(host.strip("[]"), int(port), "/healthz", {})
    except OSError as error:
        yield bad(f"supernode {address}", str(error), "does it run? does a firewall keep ports 8001 and 8002 shut?")
        return
    if status != 200:
        yield bad(f"supernode {address}", f"answers {status}", "see its log")
        return
    yield good(f"supernode {address}", "answers")
    yield from clock(f"supernode {address}", headers)


def clock(who: str, headers: dict[str, str]) -> Iterator[Finding]:
    """Certificates and tokens fail where clocks differ."""
    try:
        theirs = email.utils.parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return
    apart = abs(theirs - time.time())
    if apart > _CLOCK_S:
        yield note("clock", f"{apart:.0f} s away from the one of {who}", "set both by NTP")


def _get(host: str, port: int, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=2 * _PATIENCE_S)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.headers.items()), response.read(4096)
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()
