"""Images of every shape come through as they are: multi-arch, schema 2, zstd, one huge and many small layers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.images import Image, make_image, make_index
from e2e.nodes import Node
from e2e.registries import Registry
from e2e.runtimes import skopeo_pull
from e2e.world import MIRROR, World, push

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

PLAIN = "--src-tls-verify=false"


@pytest.fixture(scope="module")
def registry(world: World) -> Registry:
    return world.registry(world.base / "storage")


@pytest.fixture(scope="module")
def node(world: World, registry: Registry) -> Node:
    (made,) = world.nodes(1)
    world.daemons([made], world.supernode(), "--registry", registry.url)
    return made


def test_multi_arch_index(world: World, node: Node, registry: Registry) -> None:
    parts = {arch: make_image(world.base / arch, f"shapes/{arch}", [700_000, 5000]) for arch in ("amd64", "arm64")}
    both = replace(make_index(world.base / "both", parts), name="shapes/both")
    push(registry.node, both, registry, "--all")
    got = skopeo_pull(node, f"127.0.0.1:{MIRROR}/{both.name}:v1", PLAIN, "--all")
    assert all(digest in got for image in parts.values() for digest, _ in image.layers)
    check(got)
    one = skopeo_pull(node, f"127.0.0.1:{MIRROR}/{both.name}:v1", PLAIN, "--override-arch", "arm64")
    assert {digest for digest, _ in parts["arm64"].layers} <= one.keys()


@pytest.mark.parametrize(
    ("name", "options"),
    [("schema2", ["--format", "v2s2"]), ("zstd", ["--dest-compress-format", "zstd"])],
)
def test_other_formats(world: World, node: Node, registry: Registry, name: str, options: list[str]) -> None:
    image = make_image(world.base / name, f"shapes/{name}", [900_000, 20_000])
    push(registry.node, image, registry, *options)
    same_both_ways(node, registry, image)


def test_many_small_layers(world: World, node: Node, registry: Registry) -> None:
    image = make_image(world.base / "many", "shapes/many", [3000 + n for n in range(60)])
    push(registry.node, image, registry)
    same_both_ways(node, registry, image)


def test_one_large_layer(world: World, node: Node, registry: Registry) -> None:
    image = make_image(world.base / "large", "shapes/large", [60_000_000])
    push(registry.node, image, registry)
    registry.mark()
    got = skopeo_pull(node, f"127.0.0.1:{MIRROR}/{image.name}:v1", PLAIN)
    check(got)
    assert registry.blob_bytes() <= 1.02 * image.blob_bytes


def test_a_retagged_image_is_the_new_one(world: World, node: Node, registry: Registry) -> None:
    """Tags are asked for each time; only blobs are kept."""
    for round_ in (1, 2):
        image = make_image(world.base / f"moving{round_}", "shapes/moving", [40_000], seed=round_)
        push(registry.node, image, registry)
        got = skopeo_pull(node, f"127.0.0.1:{MIRROR}/{image.name}:v1", PLAIN)
        assert image.layers[0][0] in got


def same_both_ways(node: Node, registry: Registry, image: Image) -> None:
    """The same manifest and blobs through the daemon as from the registry."""
    straight = skopeo_pull(node, f"{registry.host}/{image.name}:v1", PLAIN)
    through = skopeo_pull(node, f"127.0.0.1:{MIRROR}/{image.name}:v1", PLAIN)
    assert through.keys() == straight.keys()
    assert manifest(through) == manifest(straight)
    check(through)


def check(blobs: dict[str, Path]) -> None:
    assert blobs
    for digest, file in blobs.items():
        assert "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest() == digest


def manifest(blobs: dict[str, Path]) -> object:
    folder = next(iter(blobs.values())).parent
    return json.loads((folder / "manifest.json").read_text())
