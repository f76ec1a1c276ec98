import pytest

from dragonfly.daemon.straight import rewriter

OURS = "https://p2p.test"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://reg.example/v2/x?_state=a%2Fb", "https://p2p.test/v2/x?_state=a%2Fb"),
        ("https://REG.example:5000/v2/x", "https://p2p.test/v2/x"),
        ("//reg.example:5000/v2/x", "https://p2p.test/v2/x"),
        ("/v2/x", "/v2/x"),
        ("x/y", "x/y"),
        ("https://reg.example:6000/v2/x", "https://reg.example:6000/v2/x"),
        ("https://auth.example/token", "https://auth.example/token"),
        ("https://[bad", "https://[bad"),
    ],
)
def test_urls_of_the_source_become_ours(url: str, expected: str) -> None:
    assert rewriter("https://reg.example:5000", OURS)(url) == expected


def test_a_path_prefix_of_the_source_is_not_seen() -> None:
    rewrite = rewriter("https://reg.example/prefix", OURS)
    assert rewrite("https://reg.example/prefix/v2/x") == "https://p2p.test/v2/x"
    assert rewrite("/prefix/v2/x") == "/v2/x"


def test_the_namespace_is_kept() -> None:
    rewrite = rewriter("https://reg.example", OURS, "reg.example")
    assert rewrite("/v2/x") == "/v2/x?ns=reg.example"
    assert rewrite("https://reg.example/v2/x?a=b") == "https://p2p.test/v2/x?a=b&ns=reg.example"
    assert rewrite("https://elsewhere/") == "https://elsewhere/"
