import pytest

from dragonfly.daemon.logins import parse_challenge


@pytest.mark.parametrize(
    ("text", "scheme", "parameters"),
    [
        ('Basic realm="a b"', "basic", {"realm": "a b"}),
        (
            'Bearer realm="https://a/t?x=1",service="s",scope="repository:a/b:pull,push"',
            "bearer",
            {"realm": "https://a/t?x=1", "service": "s", "scope": "repository:a/b:pull,push"},
        ),
        ('BEARER Realm = https://a/t , error="x\\"y"', "bearer", {"realm": "https://a/t", "error": 'x"y'}),
        ("", "", {}),
        ("Negotiate", "negotiate", {}),
    ],
)
def test_challenges_are_read(text: str, scheme: str, parameters: dict[str, str]) -> None:
    assert parse_challenge(text) == (scheme, parameters)
