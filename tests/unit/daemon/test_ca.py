import ssl
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from dragonfly.daemon.ca import CertificateAuthority, normal_host
from dragonfly.errors import UsageError

DAY = 86400


class Wall:
    """Time of day that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def leaf_of(directory: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "leaves" / f"{name}.pem").read_bytes())


def handshake(server: ssl.SSLContext, ca: Path, host: str) -> ssl.SSLObject:
    """Both ends in memory; raises what the client's verifier says."""
    client = ssl.create_default_context(cafile=str(ca))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    return ends[0]


def test_the_ca_is_made_once_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    first = CertificateAuthority(tmp_path / "ca")
    again = CertificateAuthority(tmp_path / "ca")
    assert again.fingerprint == first.fingerprint
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_a_directory_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir(mode=0o777)
    CertificateAuthority(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


@pytest.mark.parametrize("host", ["p2p.example", "127.0.0.1", "::1", "xn--bcher-kva.example"])
def test_a_client_that_trusts_the_ca_accepts_each_host(tmp_path: Path, host: str) -> None:
    authority = CertificateAuthority(tmp_path / "ca")
    assert handshake(authority.context(host), authority.cert_path, host).version() == "TLSv1.3"


def test_a_certificate_is_for_its_host_alone(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "ca")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.context("one.example"), authority.cert_path, "two.example")


def test_validity_begins_before_now_and_ends_within_397_days(tmp_path: Path) -> None:
    wall = Wall()
    CertificateAuthority(tmp_path, wall=wall).context("a.example")
    leaf = leaf_of(tmp_path, "a.example")
    assert leaf.not_valid_before_utc.timestamp() == wall.now - 2 * DAY
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=397)


def test_a_leaf_is_minted_anew_before_it_ends(tmp_path: Path) -> None:
    wall = Wall()
    authority = CertificateAuthority(tmp_path, wall=wall)
    authority.context("a.example")
    first = leaf_of(tmp_path, "a.example")
    wall.now += 300 * DAY
    authority.context("a.example")
    assert leaf_of(tmp_path, "a.example") == first
    wall.now += 80 * DAY
    assert wall.now < first.not_valid_after_utc.timestamp()
    authority.context("a.example")
    assert leaf_of(tmp_path, "a.example") != first


def test_leaves_of_another_ca_are_not_shown(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path).context("a.example")
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).unlink()
    authority = CertificateAuthority(tmp_path)
    handshake(authority.context("a.example"), authority.cert_path, "a.example")


def test_a_restart_needs_no_cryptography(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path).context("a.example")
    script = (
        "import sys, pathlib; from dragonfly.daemon.ca import CertificateAuthority\n"
        f"CertificateAuthority(pathlib.Path({str(tmp_path)!r})).context('a.example')\n"
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_own_ca_is_used_and_a_foreign_key_refused(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path / "one")
    CertificateAuthority(tmp_path / "two")
    own = CertificateAuthority(tmp_path / "data", cert=tmp_path / "one" / "ca.crt", key=tmp_path / "one" / "ca.key")
    handshake(own.context("a.example"), tmp_path / "one" / "ca.crt", "a.example")
    mixed = CertificateAuthority(tmp_path / "data2", cert=tmp_path / "one" / "ca.crt", key=tmp_path / "two" / "ca.key")
    with pytest.raises(UsageError, match="not that of its certificate"):
        mixed.context("a.example")


def test_a_certificate_without_its_key_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        CertificateAuthority(tmp_path, cert=tmp_path / "x")
    (tmp_path / "no.crt").write_text("nothing")
    with pytest.raises(UsageError, match="not a PEM certificate"):
        CertificateAuthority(tmp_path / "d", cert=tmp_path / "no.crt", key=tmp_path / "no.crt")


@pytest.mark.parametrize("host", ["", "a b", "../../etc/passwd", "a/b", "x" * 300, "é.example"])
def test_what_is_no_host_gets_no_certificate(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        normal_host(host)
