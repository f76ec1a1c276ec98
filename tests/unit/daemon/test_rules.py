import pytest

from dragonfly.daemon.rules import HijackList, Rules, WhiteList
from dragonfly.daemon.settings import Hijack, Permit, Rule
from dragonfly.errors import UsageError

BLOB = "http://reg.example/v2/library/x/blobs/sha256:abc"


def test_the_first_rule_that_matches_decides() -> None:
    rules = Rules([Rule(regex="library/x", direct=True), Rule(regex="blobs/sha256.*")])
    assert rules.decide(BLOB)[:3] == (BLOB, False, True)
    assert rules.decide(BLOB.replace("library/x", "y")).p2p


def test_what_no_rule_matches_goes_straight() -> None:
    verdict = Rules([Rule(regex="blobs/sha256.*")]).decide("http://reg.example/v2/")
    assert (verdict.p2p, verdict.matched) == (False, False)


def test_redirect_and_https_change_where_the_source_is_asked() -> None:
    rules = Rules([Rule(regex="reg.example", redirect="mirror.example:5000", use_https=True)])
    assert rules.decide(BLOB + "?a=b").url == "https://mirror.example:5000/v2/library/x/blobs/sha256:abc?a=b"


@pytest.mark.parametrize("rule", [Rule(regx="reg", use_https_v1=True), Rule(regex="reg", use_tls_v2=True)])
def test_older_spellings_mean_the_same(rule: Rule) -> None:
    assert Rules([rule]).decide(BLOB).url.startswith("https://")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(regex="("), "not a regular expression"),
        (Rule(), "without a regular expression"),
        (Rule(regex="a", p2p=True, direct=True), "both p2p and direct"),
        (Rule(regex="a", redirect="https://b/"), "not a host to redirect to"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: Rule, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Rules([rule])


def test_hijack_patterns_see_host_and_port() -> None:
    hosts = HijackList([Hijack(regex=r"^reg\.example:443$"), Hijack(regex=r"\.cdn\.example$", insecure=True)])
    assert hosts.find("REG.example", 443) is not None
    assert hosts.find("reg.example", 8443) is None
    entry = hosts.find("a.cdn.example", 1234)
    assert entry is not None
    assert entry.insecure


def test_the_white_list_matches_whole_names_and_ports() -> None:
    allowed = WhiteList([Permit(host=r"reg\.example", ports=(443, 5000)), Permit(ports=(80,))])
    assert allowed.allows("reg.example", 5000)
    assert allowed.allows("other.example", 80)
    assert not allowed.allows("reg.example.evil", 443)
    assert not allowed.allows("reg.example", 22)
    assert WhiteList([]).allows("anything", 1)
