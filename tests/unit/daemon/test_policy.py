from pathlib import Path

import pytest

from dragonfly.core.task import INSECURE
from dragonfly.daemon.ca import CertificateAuthority
from dragonfly.daemon.policy import Login, Policy, origin_of, split_host
from dragonfly.daemon.settings import DaemonSettings, Hijack, Permit, Registry
from dragonfly.errors import UsageError


@pytest.fixture
def pem(tmp_path: Path) -> str:
    return str(CertificateAuthority(tmp_path).cert_path)


def bases(policy: Policy, namespace: str) -> list[str]:
    return [target.base for target in policy.named(namespace).targets]


@pytest.mark.parametrize(
    ("namespace", "base"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("quay.io", "https://quay.io"),
        ("REG.example:5000", "https://reg.example:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("p2p.test", "http://there:1"),
    ],
)
def test_where_a_namespace_is(namespace: str, base: str) -> None:
    assert bases(Policy(DaemonSettings(map={"p2p.test": "http://there:1/"})), namespace) == [base]


@pytest.mark.parametrize("namespace", ["a/b", "user@host", "a?b", "", "a:b", "http://x"])
def test_what_is_no_namespace(namespace: str) -> None:
    with pytest.raises(UsageError, match="not a registry"):
        Policy(DaemonSettings()).named(namespace)


def test_a_domain_is_found_with_and_without_its_port() -> None:
    policy = Policy(DaemonSettings(map={"a.test": "https://one", "b.test:8443": "https://two"}))
    assert policy.mapped("A.test:65001") is not None
    assert policy.mapped("b.test:8443") is not None
    assert policy.mapped("b.test") is None
    assert policy.domains == {"a.test", "b.test"}


def test_mirrors_come_first_and_get_no_password_of_the_registry(tmp_path: Path, pem: str) -> None:
    (tmp_path / "password").write_text("secret\n")
    entry = Registry(
        host="docker.io",
        mirrors=("https://mirror.test/", "http://other"),
        ca=pem,
        username="ann",
        password_file=str(tmp_path / "password"),
    )
    targets = Policy(DaemonSettings(registries=(entry,))).named("docker.io").targets
    assert [target.base for target in targets] == [
        "https://mirror.test", "http://other", "https://registry-1.docker.io",
    ]  # fmt: skip
    assert [target.login for target in targets] == [None, None, Login("ann", "secret")]
    assert all("BEGIN CERTIFICATE" in target.trust for target in targets)
    assert "secret" not in repr(targets)


def test_trust_is_insecure_only_where_it_is_said(pem: str) -> None:
    hijack = (Hijack(regex="a", insecure=True), Hijack(regex="b", ca=pem))
    policy = Policy(
        DaemonSettings(
            upstream_ca=pem,
            insecure_upstream=("Loose.test", "port.test:5000"),
            hijack=hijack,
            registries=(Registry(host="lax.test", insecure=True),),
        )
    )
    assert policy.direct("https://loose.test:1").trust == INSECURE
    assert policy.direct("https://port.test:5000").trust == INSECURE
    assert policy.direct("https://lax.test").trust == INSECURE
    assert policy.direct("https://a.test", hijack[0]).trust == INSECURE
    for origin, entry in (("https://port.test", None), ("https://b.test", hijack[1]), ("https://docker.io", None)):
        assert "BEGIN CERTIFICATE" in policy.direct(origin, entry).trust


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (DaemonSettings(map={"a": "reg.example"}), "not the URL of a registry"),
        (DaemonSettings(map={"a": "ftp://reg.example"}), "not the URL of a registry"),
        (DaemonSettings(map={"a": "https://user:pw@reg.example"}), "not the URL of a registry"),
        (DaemonSettings(map={"a": "https://reg:port"}), "not a URL"),
        (DaemonSettings(registry="x"), "not the URL of a registry"),
        (DaemonSettings(upstream_ca="/no/such/file"), "can't be read"),
        (DaemonSettings(upstream_ca=__file__), "not PEM"),
        (DaemonSettings(registries=(Registry(host=""),)), "without a host"),
        (DaemonSettings(registries=(Registry(host="a", username="b"),)), "without a password"),
        (DaemonSettings(registries=(Registry(host="a", username="b", password_env="NOT_SET_X"),)), "not there"),
        (DaemonSettings(registries=(Registry(host="a", mirrors=("b",)),)), "not the URL"),
        (DaemonSettings(permit=(Permit(host="("),)), "not a regular expression"),
        (DaemonSettings(hijack=(Hijack(),)), "without a regular expression"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: DaemonSettings, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Policy(settings)


def test_hosts_and_origins() -> None:
    assert split_host("Host:80") == ("host", 80)
    assert split_host("[::1]:80") == ("::1", 80)
    assert split_host("host:x") == ("", None)
    assert origin_of("HTTPS://Host:443/a?b") == "https://host"
    assert origin_of("http://[::1]:443/") == "http://[::1]:443"
