"""Images for tests: real OCI layouts with layers of given sizes, made here, pushed by skopeo."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Image:
    """An OCI layout on disk, and what a pull of it must bring."""

    folder: Path
    name: str
    tag: str
    layers: tuple[tuple[str, int], ...]
    """(digest, bytes) of each layer as it travels."""
    config: tuple[str, int]
    manifest: str
    diff_ids: tuple[str, ...]
    """Digests of the unpacked layers, as runtimes report them."""

    @property
    def blob_bytes(self) -> int:
        """Bytes of layers and configuration."""
        return sum(size for _, size in self.layers) + self.config[1]

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def make_image(folder: Path, name: str, sizes: Sequence[int], *, tag: str = "v1", seed: int = 0) -> Image:
    """An image of one layer per size (bytes, incompressible), different for each name and seed."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    dice = random.Random(f"{name} {seed}")

    def add(data: bytes) -> tuple[str, int]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return f"sha256:{digest}", len(data)

    layers, diff_ids = [], []
    for number, size in enumerate(sizes):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for part, length in enumerate(_parts(size, dice)):
                info = tarfile.TarInfo(f"layer{number}/file{part}")
                info.size = length
                tar.addfile(info, io.BytesIO(dice.randbytes(length)))
        diff_ids.append("sha256:" + hashlib.sha256(packed.getvalue()).hexdigest())
        layers.append(add(gzip.compress(packed.getvalue(), 1, mtime=0)))
    config = add(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/bin/true"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [{"created_by": f"layer {n}"} for n in range(len(sizes))],
            }
        ).encode()
    )
    manifest = add(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": config[0], "size": config[1]},
                "layers": [{"mediaType": LAYER, "digest": d, "size": s} for d, s in layers],
            }
        ).encode()
    )
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(
        json.dumps(
            {
                "schemaVersion": 2,
                "manifests": [
                    {
                        "mediaType": MANIFEST,
                        "digest": manifest[0],
                        "size": manifest[1],
                        "annotations": {"org.opencontainers.image.ref.name": tag},
                    }
                ],
            }
        )
    )
    return Image(folder, name, tag, tuple(layers), config, manifest[0], tuple(diff_ids))


def _parts(size: int, dice: random.Random) -> list[int]:
    """A layer of `size` bytes as a few files, some small."""
    small = [dice.randrange(200, 2000) for _ in range(3)] if size > 10_000 else []
    return [*small, size - sum(small)]


def make_index(folder: Path, parts: dict[str, Image]) -> Image:
    """A multi-arch image of these (architecture → image) in one layout; the first stands for it."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    listed = []
    for architecture, image in parts.items():
        for blob in (image.folder / "blobs" / "sha256").iterdir():
            (blobs / blob.name).write_bytes(blob.read_bytes())
        listed.append(
            {
                "mediaType": MANIFEST,
                "digest": image.manifest,
                "size": image.blob(image.manifest).stat().st_size,
                "platform": {"architecture": architecture, "os": "linux"},
            }
        )
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
    digest = hashlib.sha256(index).hexdigest()
    (blobs / digest).write_bytes(index)
    first = next(iter(parts.values()))
    named = {
        "mediaType": INDEX,
        "digest": f"sha256:{digest}",
        "size": len(index),
        "annotations": {"org.opencontainers.image.ref.name": first.tag},
    }
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return replace(first, folder=folder, manifest=f"sha256:{digest}")
