"""What a node's daemon can be told: its ports, whose mirror it is, and what its proxy does with whom."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Size

__all__ = ["DaemonSettings", "Hijack", "Permit", "Registry", "Rule", "UpstreamDown"]


class UpstreamDown(enum.StrEnum):
    """What becomes of a cached blob while its registry can't be asked who may read it."""

    DENY = "deny"
    """Nobody gets it."""
    ANONYMOUS_OK = "anonymous-ok"
    """A client without credentials gets what its registry gave to everybody before."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done with URLs that a regular expression is found in. Through the swarm, unless `direct`."""

    regex: Annotated[str, Meta(description="searched for in the whole URL")] = ""
    regx: Annotated[str, Meta(description="the same, as Dragonfly 1 spelled it")] = ""
    p2p: Annotated[bool, Meta(description="through the swarm: what a match means anyway; for the reader")] = False
    direct: Annotated[bool, Meta(description="straight from the source, without the swarm")] = False
    redirect: Annotated[str, Meta(description="HOST[:PORT] that is asked instead")] = ""
    filters: Annotated[
        tuple[str, ...], Meta(description="query keys that do not change the content: signatures, expiry")
    ] = ()
    use_https: Annotated[bool, Meta(description="ask the source by https whatever the client said")] = False
    use_https_v1: Annotated[bool, Meta(description="the same, as Dragonfly 1 spelled it")] = msgspec.field(
        default=False, name="useHTTPS"
    )
    use_tls_v2: Annotated[bool, Meta(description="the same, as Dragonfly 2 spelled it")] = msgspec.field(
        default=False, name="useTLS"
    )


class Hijack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hosts whose CONNECT is ended here, with a certificate of the daemon's CA."""

    regex: Annotated[str, Meta(description="searched for in HOST:PORT")] = ""
    regx: Annotated[str, Meta(description="the same, as Dragonfly 1 spelled it")] = ""
    insecure: Annotated[bool, Meta(description="do not check the certificates of these hosts")] = False
    ca: Annotated[str, Meta(description="file of PEM certificates that these hosts are checked against")] = ""
    certs: Annotated[tuple[str, ...], Meta(description="further such files, as Dragonfly 1 named them")] = ()


class Permit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the white list: a host that may be asked for through the proxy."""

    host: Annotated[str, Meta(description="regular expression for the whole host name; empty: any")] = ""
    ports: Annotated[tuple[int, ...], Meta(description="ports that may be asked for; empty: any")] = ()


class Registry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be known about one registry."""

    host: Annotated[str, Meta(description="HOST[:PORT] as images are named after it, `docker.io` for instance")]
    upstream: Annotated[str, Meta(description="URL where it answers; empty: https://HOST")] = ""
    mirrors: Annotated[tuple[str, ...], Meta(description="URLs that are asked before it, in this order")] = ()
    ca: Annotated[str, Meta(description="file of PEM certificates that it is checked against")] = ""
    insecure: Annotated[bool, Meta(description="do not check its certificate")] = False
    username: Annotated[str, Meta(description="for clients that bring no credentials of their own")] = ""
    password_env: Annotated[str, Meta(description="environment variable that holds the password")] = ""
    password_file: Annotated[str, Meta(description="file that holds the password")] = ""


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's faces. What the engine below them does: `EngineSettings`."""

    listen: Annotated[str, Meta(description="HOST:PORT of mirror, proxy and TLS, told apart by the first byte")] = (
        "127.0.0.1:65001"
    )
    tls_listen: Annotated[str, Meta(description="HOST:PORT of a further port for TLS; empty: none")] = ""
    map: Annotated[
        dict[str, str], Meta(description="DOMAIN=UPSTREAM_URL: a P2P domain and the registry behind it")
    ] = {}
    registry: Annotated[str, Meta(description="URL of the registry that is meant when a request names none")] = (
        "https://registry-1.docker.io"
    )
    upstream_ca: Annotated[str, Meta(description="file of PEM certificates that sources are checked against too")] = ""
    insecure_upstream: Annotated[tuple[str, ...], Meta(description="HOST[:PORT] whose certificate is not checked")] = ()
    registries: Annotated[tuple[Registry, ...], Meta(description="CA, credentials and mirrors of registries")] = ()
    rules: Annotated[
        tuple[Rule, ...], Meta(description="what goes through the swarm; the first that matches decides")
    ] = (Rule(regex="blobs/sha256.*"),)
    hijack: Annotated[tuple[Hijack, ...], Meta(description="whose CONNECT is ended here; others are tunnelled")] = ()
    permit: Annotated[tuple[Permit, ...], Meta(description="hosts that may be proxied at all; empty: any")] = ()
    ca_cert: Annotated[str, Meta(description="file of an own CA certificate instead of DATA_DIR/ca/ca.crt")] = ""
    ca_key: Annotated[str, Meta(description="file of the key of ca_cert")] = ""
    when_upstream_down: Annotated[
        UpstreamDown, Meta(description="who gets a cached blob while its registry does not answer")
    ] = UpstreamDown.DENY
    authorized_for: Annotated[
        Duration, Meta(description="a registry's yes to one client and blob is remembered this long", ge=0)
    ] = 60.0
    socket_mode: Annotated[str, Meta(description="permission bits of the control socket, octal")] = "0660"
    head_timeout: Annotated[
        Duration, Meta(description="how long a client may take for its first bytes and its request head")
    ] = 60.0
    keep_alive: Annotated[Duration, Meta(description="an idle client connection is kept this long")] = 300.0
    connect_timeout: Annotated[
        Duration, Meta(description="how long a connection to a source, or through a tunnel, may take to stand")
    ] = 10.0
    upstream_timeout: Annotated[Duration, Meta(description="longest silence of a source that is borne")] = 300.0
    client_timeout: Annotated[Duration, Meta(description="a client that takes no byte for so long is dropped")] = 300.0
    max_head: Annotated[Size, Meta(description="longest header line that is taken, in requests and answers")] = (
        256 * 1024
    )
