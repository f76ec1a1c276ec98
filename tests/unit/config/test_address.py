from __future__ import annotations

import pytest

from dragonfly.config.address import advertised_address, listen_address, supernode_address
from dragonfly.errors import UsageError
from dragonfly.peer.remote import SupernodeAddress


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        (":80", ("0.0.0.0", 80)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[::]:0", ("::", 0)),
        (" 10.0.0.1:65535 ", ("10.0.0.1", 65535)),
    ],
)
def test_where_to_listen(text: str, found: tuple[str, int]) -> None:
    assert listen_address(text, "--listen") == found


@pytest.mark.parametrize(
    "text", ["", "80", "127.0.0.1", "host.example:80", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:x", "::1", "[::1]",
             "[::1", "[::1]x80", "1.2.3.4:" + "9" * 5000]
)  # fmt: skip
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(UsageError):
        listen_address(text, "--listen")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("s", SupernodeAddress("s", 8002, 1.0)),
        ("s:1", SupernodeAddress("s", 1, 1.0)),
        ("http://s:1/", SupernodeAddress("s", 1, 1.0)),
        ("s=2", SupernodeAddress("s", 8002, 2.0)),
        ("s:9=0.5", SupernodeAddress("s", 9, 0.5)),
        ("[::1]:9=3", SupernodeAddress("::1", 9, 3.0)),
        ("::1", SupernodeAddress("::1", 8002, 1.0)),
    ],
)
def test_supernodes(text: str, found: SupernodeAddress) -> None:
    assert supernode_address(text) == found


@pytest.mark.parametrize("text", ["", ":8002", "s=0", "s=-1", "s=nan", "s=inf", "s=x", "s:x", "https://s", "s=1=2"])
def test_what_is_no_supernode(text: str) -> None:
    with pytest.raises(UsageError):
        supernode_address(text)


def test_what_other_nodes_dial() -> None:
    assert advertised_address("10.0.0.5") == "10.0.0.5"
    assert advertised_address("2001:db8::0:5") == "2001:db8::5"
    assert advertised_address("") == ""


@pytest.mark.parametrize("text", ["node1", "10.0.0.5:80", "0.0.0.0", "::", "169.254.1.1", "fe80::1", "ff02::1"])
def test_what_other_nodes_can_not_dial(text: str) -> None:
    with pytest.raises(UsageError, match="--advertise"):
        advertised_address(text)
