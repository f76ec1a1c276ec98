"""The node's certificate authority, and the certificates that it mints per host.

Made at the first start under DATA_DIR/ca: `ca.crt` for clients to trust, `ca.key` for
root's eyes only. EC P-256, since each TLS library has it and a key takes no time to make.
Minted leaves are kept on disk, so that a restarted daemon needs neither new ones nor the
`cryptography` package in memory (it is imported only while something is minted).

A leaf's file starts with a line for us, which PEM readers skip:
`dragonfly leaf <when to mint it anew> <fingerprint of its CA>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dragonfly.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["CertificateAuthority"]

_DAY = 86400
#: Certificates are valid since two days before they were made: clients with wrong clocks.
_BACKDATED = 2 * _DAY
_CA_LIFE = 10 * 365 * _DAY
#: Apple's and Chromium's verifiers refuse leaves of more than 398 days in all, backdating included.
_LEAF_LIFE = 390 * _DAY
#: A leaf is minted anew after this part of its life, so that no running daemon shows an expired one.
_RENEW_AFTER = 0.9
_MAX_LEAVES = 1024
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


class CertificateAuthority:
    """Certificate and key in `directory`, or an own pair of the operator's. Thread-safe.

    Opening makes what is missing. UsageError where files can't be read or do not fit.
    `wall` is the time of day in seconds since the epoch.
    """

    def __init__(
        self,
        directory: Path,
        *,
        cert: Path | None = None,
        key: Path | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if (cert is None) != (key is None):
            raise UsageError("ca_cert and ca_key belong together", advice="give both, or neither")
        self._directory = directory
        self._leaves = directory / "leaves"
        self._wall = wall
        self._lock = threading.Lock()
        self._contexts: dict[str, tuple[ssl.SSLContext, float]] = {}
        self.cert_path = cert or directory / "ca.crt"
        self._key_path = key or directory / "ca.key"
        for made in (directory, self._leaves):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            made.chmod(0o700)
        if cert is None and not (self.cert_path.exists() and self._key_path.exists()):
            self._make_ca()
        self.pem = _read(self.cert_path)
        try:
            self.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(_first_certificate(self.pem))).hexdigest()
        except ValueError:
            raise UsageError(
                "not a PEM certificate", subject=str(self.cert_path), advice="put the CA's certificate there"
            ) from None
        if not os.access(self._key_path, os.R_OK):
            raise UsageError("the CA's key can't be read", subject=str(self._key_path), advice="run as its owner")

    def __repr__(self) -> str:
        return f"<CertificateAuthority {self.cert_path} sha256:{self.fingerprint[:12]}…>"

    def context(self, host: str) -> ssl.SSLContext:
        """A server-side TLS context that shows a certificate for `host` (a name or an IP address).

        ValueError for what is neither. About 1 ms where one has to be minted, and once some
        100 ms for loading what mints.
        """
        name = normal_host(host)
        with self._lock:
            known = self._contexts.get(name)
            if known is not None and self._wall() < known[1]:
                return known[0]
            path, renew_at = self._leaf(name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(path)
            context.set_alpn_protocols(["http/1.1"])
            if len(self._contexts) >= _MAX_LEAVES:
                self._contexts.pop(next(iter(self._contexts)))
            self._contexts[name] = (context, renew_at)
            return context

    def _leaf(self, name: str) -> tuple[Path, float]:
        """File of a leaf for `name`, from disk or minted, and when it has to be minted anew."""
        path = self._leaves / (name.replace(":", "_") + ".pem")
        with contextlib.suppress(OSError, ValueError), path.open() as file:
            words = file.readline().split()
            if words[:2] == ["dragonfly", "leaf"] and words[3:] == [self.fingerprint]:
                renew_at = float(words[2])
                if self._wall() < renew_at:
                    return path, renew_at
        self._forget_old()
        pem, life = self._mint(name)
        renew_at = self._wall() + _RENEW_AFTER * life
        _write_secret(path, f"dragonfly leaf {renew_at:.0f} {self.fingerprint}\n".encode() + pem)
        return path, renew_at

    def _forget_old(self) -> None:
        """Keep the directory small, whatever names clients ask for."""
        files = sorted(self._leaves.glob("*.pem"), key=lambda file: file.stat().st_mtime)
        for file in files[: max(0, len(files) - _MAX_LEAVES + 1)]:
            file.unlink(missing_ok=True)

    def _make_ca(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Dragonfly"),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Dragonfly CA of {os.uname().nodename}"[:64]),
            ]
        )
        public = key.public_key()
        certificate = (
            _builder(name, name, public, self._wall(), _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        # The key first: a certificate without its key would be trusted and useless.
        _write_secret(self._key_path, _private_pem(key))
        _write_secret(self.cert_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def _mint(self, name: str) -> tuple[bytes, float]:
        """Key, certificate and chain for `name` as PEM, and how many seconds it is good for."""
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        issuer = x509.load_pem_x509_certificate(_first_certificate(self.pem).encode())
        try:
            signer = serialization.load_pem_private_key(_read(self._key_path).encode(), password=None)
        except (ValueError, TypeError) as error:
            raise UsageError(
                "the CA's key can't be used",
                subject=str(self._key_path),
                advice=f"give an unencrypted PEM key ({error})",
            ) from None
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
        now = self._wall()
        life = min(_LEAF_LIFE, max(60.0, issuer.not_valid_after_utc.timestamp() - now))
        builder = (
            _builder(subject, issuer.subject, key.public_key(), now, life)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        certificate = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            raise UsageError(
                "the CA's key is not that of its certificate",
                subject=str(self._key_path),
                advice="give a pair that belongs together",
            ) from None
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self.pem.encode()
        return _private_pem(key) + chain, life


def normal_host(host: str) -> str:
    """Lower case, without brackets and final dot; ValueError for what is neither a name nor an address."""
    bare = host.strip("[]").rstrip(".").lower()
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(bare))
    if not _HOST.fullmatch(bare):
        raise ValueError(f"not a host name: {host!r}")
    return bare


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: float, life: float
) -> x509.CertificateBuilder:
    from datetime import UTC, datetime

    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now - _BACKDATED, UTC))
        .not_valid_after(datetime.fromtimestamp(now + life, UTC))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _first_certificate(pem: str) -> str:
    """The first block of a PEM bundle; ValueError without one."""
    _head, found, rest = pem.partition("-----BEGIN CERTIFICATE-----")
    body, ended, _ = rest.partition("-----END CERTIFICATE-----")
    if not (found and ended):
        raise ValueError("no certificate")
    return f"{found}{body}{ended}\n"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError("the CA can't be read", subject=f"{path} ({reason})", advice="check path and rights") from None


def _write_secret(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, never readable by others even for a moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
