from __future__ import annotations

import pytest

from dragonfly.errors import SourceError
from dragonfly.source.base import SourceRequest
from dragonfly.source.challenge import Challenge, authorization_for, parse_challenges
from dragonfly.source.http import HttpSource
from dragonfly.testing.origin import Origin, reply

PARSED = [
    ("", []),
    ("Basic", [Challenge("basic", {})]),
    ('Basic realm="a b"', [Challenge("basic", {"realm": "a b"})]),
    ('Basic realm="say \\"hi\\", you"', [Challenge("basic", {"realm": 'say "hi", you'})]),
    (
        'Bearer realm="https://a/t", service=s ,scope="repository:x:pull,push"',
        [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})],
    ),
    (
        'Negotiate, Basic realm="r", Bearer realm="t"',
        [Challenge("negotiate", {}), Challenge("basic", {"realm": "r"}), Challenge("bearer", {"realm": "t"})],
    ),
]


@pytest.mark.parametrize(("header", "found"), PARSED)
def test_challenges_as_they_are_written(header: str, found: list[Challenge]) -> None:
    assert parse_challenges(header) == found


def test_basic_is_met_by_user_and_password(source: HttpSource) -> None:
    request = SourceRequest(url="http://x/")
    assert authorization_for('Basic realm="r"', source, request, user="u", password="p") == "Basic dTpw"
    assert authorization_for('Basic realm="r"', source, request) == ""
    assert authorization_for("Negotiate", source, request, user="u", password="p") == ""


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_bearer_is_met_by_a_token_of_the_realm(origin: Origin, source: HttpSource, name: str) -> None:
    origin.serve("/token", b'{"%b": "tok", "expires_in": 60}' % name.encode())
    challenge = f'Bearer realm="{origin.url("/token?x=1")}",service="reg",scope="repository:a/b:pull"'
    request = SourceRequest(url="http://elsewhere/")
    assert authorization_for(challenge, source, request, user="u", password="p") == "Bearer tok"
    assert origin.seen[0].target == "/token?x=1&service=reg&scope=repository%3Aa%2Fb%3Apull"
    assert origin.seen[0].headers["authorization"] == "Basic dTpw"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"not json", b'{"token": 5}', b'{"token": "\xff"}', b"[" * 99999])
def test_a_token_service_without_a_token_is_an_error(origin: Origin, source: HttpSource, body: bytes) -> None:
    origin.serve("/token", body)
    with pytest.raises(SourceError, match="no token"):
        authorization_for(f'Bearer realm="{origin.url("/token")}"', source, SourceRequest(url="http://x/"))


def test_a_token_service_that_refuses_is_heard(origin: Origin, source: HttpSource) -> None:
    origin.then("/token", reply(401))
    with pytest.raises(SourceError) as raised:
        authorization_for(f'Bearer realm="{origin.url("/token")}"', source, SourceRequest(url="http://x/"))
    assert raised.value.status == 401


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "http://169.254.169.254/", "nonsense", "http://[x"])
def test_a_realm_that_may_not_be_read_is_refused(source: HttpSource, realm: str) -> None:
    with pytest.raises(SourceError):
        authorization_for(f'Bearer realm="{realm}"', source, SourceRequest(url="http://x/"))


def test_a_password_for_a_registry_with_tls_goes_to_no_service_without(origin: Origin, source: HttpSource) -> None:
    request = SourceRequest(url="https://x/v2/")
    with pytest.raises(SourceError, match="in clear"):
        authorization_for(f'Bearer realm="{origin.url("/token")}"', source, request, user="u", password="p")
    assert not origin.seen
