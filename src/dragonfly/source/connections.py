"""Connections to sources: kept, trusted as asked, and to allowed addresses only."""

from __future__ import annotations

import ssl

import urllib3

from dragonfly.core.task import INSECURE
from dragonfly.errors import SourceError
from dragonfly.source.policy import SourcePolicy

__all__ = ["CheckedPools", "tls_context"]


class CheckedPools(urllib3.PoolManager):
    """Pools whose connections look at the address that they reached before anything is sent."""

    def __init__(self, policy: SourcePolicy, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]

        class Checked(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                _check_peer(policy, self)

        class CheckedTls(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                self.is_verified = True  # or not, by the operator's word: no warning at each request
                _check_peer(policy, self)

        class Http(urllib3.HTTPConnectionPool):
            ConnectionCls = Checked

        class Https(urllib3.HTTPSConnectionPool):
            ConnectionCls = CheckedTls

        self.pool_classes_by_scheme = {"http": Http, "https": Https}


def _check_peer(policy: SourcePolicy, connection: urllib3.connection.HTTPConnection) -> None:
    try:
        policy.check_address(connection.host, connection.sock.getpeername()[0])
    except BaseException:
        connection.close()
        raise


def tls_context(trust: str) -> ssl.SSLContext:
    """For `SourceRequest.trust`: the system's CAs and those of a PEM text, or none checked at all."""
    context = ssl.create_default_context()
    if trust == INSECURE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust:
        try:
            context.load_verify_locations(cadata=trust)
        except (ssl.SSLError, ValueError, TypeError) as error:
            raise SourceError("the CA file holds no certificate", advice=f"name one in PEM form ({error})") from None
    return context
