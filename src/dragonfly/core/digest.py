"""Content digests in OCI notation, `sha256:<hex>`.

SHA-256 and SHA-512 are the two algorithms that the OCI image specification
registers. Pieces always use SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

import msgspec

from dragonfly.core import bitmap
from dragonfly.errors import UsageError

if TYPE_CHECKING:
    from hashlib import _Hash

    from typing_extensions import Buffer

__all__ = ["NO_DIGEST", "PIECE_DIGEST_BYTES", "Digest", "known_digests", "piece_digest"]

PIECE_DIGEST_BYTES = 32
NO_DIGEST = bytes(PIECE_DIGEST_BYTES)
"""In a list of pieces' digests: not known yet."""
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"(?P<algorithm>[a-z0-9]+(?:[+._-][a-z0-9]+)*):(?P<hex>[0-9a-f]+)")


class Digest(msgspec.Struct, frozen=True, order=True):
    """A checked digest; make one with `parse` or `of`."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 hex>` or `sha512:<128 hex>`; anything else is a UsageError."""
        form = _FORM.fullmatch(text)
        if form is None or len(form["hex"]) != _HEX_LENGTH.get(form["algorithm"]):
            raise UsageError("not a digest", subject=repr(text), advice="write sha256:<64 hex digits> or sha512:<128>")
        return cls(form["algorithm"], form["hex"])

    @classmethod
    def of(cls, data: Buffer, algorithm: str = "sha256") -> Digest:
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def hasher(self) -> _Hash:
        """A fresh incremental hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, hasher: _Hash) -> bool:
        return hmac.compare_digest(hasher.hexdigest(), self.hex)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def piece_digest(data: Buffer) -> bytes:
    """SHA-256 of one piece: 32 raw bytes."""
    return hashlib.sha256(data).digest()


def known_digests(digests: bytes | bytearray, first: int = 0) -> int:
    """The pieces (a bitmap) whose digests are in the list, which begins with that of piece `first`."""
    size = PIECE_DIGEST_BYTES
    count = len(digests) // size
    if digests.find(NO_DIGEST) < 0:
        return bitmap.run(first, count)  # all, as nearly always: 25,000 of them are not looked at one by one
    return bitmap.from_indexes(
        first + index for index in range(count) if digests[size * index : size * (index + 1)] != NO_DIGEST
    )
