"""Which layer of its image a blob is, as told by the manifests that pass through.

Runtimes ask for layers in any order, three of them at once, but unpack them from the lowest on.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import aiohttp
import msgspec
from cachetools import LRUCache

from dragonfly.core.digest import Digest
from dragonfly.core.manifest import DOCKER_MANIFEST, OCI_MANIFEST, Manifest

__all__ = ["Layers", "Place"]

_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_LONGEST = 4 * 1024 * 1024
_REMEMBERED = 16_384


class Place(NamedTuple):
    """An image by its manifest's digest, and the number of a layer in it from 1 on; nothing where it is not known."""

    image: str = ""
    layer: int = 0


class Layers:
    """Remembers the layers of the images that were asked for last."""

    def __init__(self) -> None:
        self._places: LRUCache[str, Place] = LRUCache(_REMEMBERED)

    @staticmethod
    def told_by(answer: aiohttp.ClientResponse) -> bool:
        """Whether this is an image's manifest, to be given to `learn` when it has come."""
        return (
            answer.method == "GET"
            and answer.status == 200
            and answer.content_type in _TYPES
            and "Content-Encoding" not in answer.headers
            and answer.content_length is not None
            and answer.content_length <= _LONGEST
        )

    def learn(self, manifest: bytes) -> None:
        """Take in an image's manifest; what is none is ignored, that is the client's to complain of."""
        try:
            layers = msgspec.json.decode(manifest, type=Manifest).layers
        except (msgspec.DecodeError, RecursionError):
            return
        image = hashlib.sha256(manifest).hexdigest()
        layers = layers[:_REMEMBERED]
        for number in range(len(layers), 0, -1):  # the lowest place of one that comes twice
            self._places[layers[number - 1].digest] = Place(image, number)

    def place(self, digest: Digest) -> Place:
        """Of a blob in the image that was asked for last and has it."""
        return self._places.get(str(digest), Place())
