import ssl

import pytest

from dragonfly.core.task import INSECURE
from dragonfly.errors import UsageError
from dragonfly.net.tls import client_context, sni_context


def test_trust_is_the_systems_unless_said_otherwise() -> None:
    assert client_context().verify_mode is ssl.CERT_REQUIRED
    assert client_context().check_hostname
    assert client_context(INSECURE).verify_mode is ssl.CERT_NONE
    assert client_context() is client_context()


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="not PEM certificates"):
        client_context("nonsense")


@pytest.mark.parametrize("error", [ValueError("no"), UsageError("no")])
def test_a_name_without_a_certificate_ends_the_handshake(error: Exception) -> None:
    asked = []

    def choose(name: str | None) -> ssl.SSLContext:
        asked.append(name)
        raise error

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(INSECURE).wrap_bio(to_client, to_server, server_hostname="a.example")
    server = sni_context(choose).wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized"):
        client.do_handshake()
    assert asked == ["a.example"]
