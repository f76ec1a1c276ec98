"""TLS contexts: whom we believe as a client, and which certificate we show as a server."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable

from dragonfly.core.task import INSECURE
from dragonfly.errors import DragonflyError, UsageError

__all__ = ["client_context", "sni_context"]


@functools.lru_cache(maxsize=64)
def client_context(trust: str = "", /) -> ssl.SSLContext:
    """A context for asking sources. `trust` as in `TaskSpec.trust`: PEM certificates that count besides the
    system's, or `INSECURE`. UsageError where it is not PEM. Cached: reading the system's takes some 20 ms.
    """
    if trust == INSECURE:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
        if trust:
            try:
                context.load_verify_locations(cadata=trust)
            except (ssl.SSLError, ValueError) as error:
                raise UsageError("not PEM certificates", subject=trust[:40], advice=str(error)) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def sni_context(choose: Callable[[str | None], ssl.SSLContext]) -> ssl.SSLContext:
    """A server context that becomes what `choose` gives for the name that the client asks for.

    None where it names none (clients that dial an address do not). Where `choose` raises
    ValueError, OSError or an error of ours the handshake ends with the alert `unrecognized_name`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])

    def chosen(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        try:
            connection.context = choose(name)
        except (ValueError, OSError, DragonflyError):
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None

    context.sni_callback = chosen
    return context
