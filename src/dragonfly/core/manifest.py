"""What is read of an image's manifest, or of an index of several: OCI's and Docker's have the same form."""

from __future__ import annotations

import msgspec

__all__ = ["DOCKER_MANIFEST", "OCI_MANIFEST", "Descriptor", "Manifest", "Platform"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct):
    digest: str
    size: int = 0
    platform: Platform | None = None
    urls: list[str] = []


class Manifest(msgspec.Struct):
    """`manifests` of an index; `layers`, the lowest first, and `config` of an image."""

    manifests: list[Descriptor] | None = None
    layers: list[Descriptor] = []
    config: Descriptor | None = None
