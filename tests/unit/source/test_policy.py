from __future__ import annotations

import pytest

from dragonfly.errors import SourceError
from dragonfly.source.policy import SourcePolicy


def allowed(policy: SourcePolicy, url: str) -> bool:
    try:
        policy.check_url(url)
    except SourceError as error:
        return error.status != 403
    return True


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0.0.0.0",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[ff02::1]",
        "[::]",
    ],
)
def test_link_local_addresses_are_never_read(host: str) -> None:
    assert not allowed(SourcePolicy(), f"http://{host}/latest/meta-data")
    assert not allowed(SourcePolicy(allow=("*",)), f"http://{host}:80/")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "[::1]", "registry.example"])
def test_private_networks_are_where_registries_live(host: str) -> None:
    assert allowed(SourcePolicy(), f"http://{host}/")


def test_what_a_name_resolves_to_is_checked() -> None:
    for address in ("169.254.169.254", "fe80::1%eth0", "::ffff:169.254.1.1"):
        with pytest.raises(SourceError, match="link-local"):
            SourcePolicy().check_address("innocent.example", address)
    SourcePolicy().check_address("innocent.example", "10.0.0.1")


def test_the_lists_of_an_operator() -> None:
    policy = SourcePolicy(allow=("*.example",), deny=("bad.example",))
    assert allowed(policy, "https://good.example/x")
    assert allowed(policy, "https://GOOD.example./x")
    assert not allowed(policy, "https://bad.example/x")
    assert not allowed(policy, "https://BAD.example.:443/x")
    assert not allowed(policy, "https://good.example@elsewhere.test/x")
    assert not allowed(policy, "https://elsewhere.test/good.example")
