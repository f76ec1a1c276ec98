"""The rig itself, without Dragonfly: what the other tests measure with is right."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.images import Image
from e2e.nodes import wait_for
from e2e.registries import Tokens, start_registry
from e2e.runtimes import Docker, skopeo_pull
from e2e.world import World


@pytest.mark.needs("docker-registry", "dockerd", "skopeo")
def test_plain_docker_pulls_cost_the_registry_one_image_per_node(
    world: World, storage: Path, images: dict[str, Image]
) -> None:
    registry = world.registry(storage)
    app = images["app"]
    dockers = [Docker(node, "--insecure-registry", registry.host) for node in world.nodes(2)]
    sent = registry.node.sent()
    registry.mark()
    reference = f"{registry.host}/{app.name}:{app.tag}"
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda d: d.pull(reference), dockers))
    assert all(d.layers(reference) == list(app.diff_ids) for d in dockers)
    assert registry.blob_bytes() == 2 * app.blob_bytes
    assert registry.node.sent() - sent == pytest.approx(2 * app.blob_bytes, rel=0.05)


@pytest.mark.needs("docker-registry", "skopeo", "htpasswd")
def test_registries_refuse_without_credentials(world: World, storage: Path, images: dict[str, Image]) -> None:
    secret = images["secret"]
    node = world.node("private")
    tokens = Tokens(node, 5099, Authority(world.base / "token-ca"))
    tokens.user("ann", "pass", secret.name)
    tokens.user("bob", "word")
    basic = start_registry(node, storage, port=5001, users={"ann": "pass"}, name="basic")
    token = start_registry(node, storage, port=5002, tokens=tokens, name="token")
    for registry in (basic, token):
        reference = f"{registry.host}/{secret.name}:{secret.tag}"
        plain = "--src-tls-verify=false"
        assert skopeo_pull(node, reference, plain, check=False) == {}
        assert skopeo_pull(node, reference, plain, "--src-creds", "bob:word", check=False) == {}
        got = skopeo_pull(node, reference, plain, "--src-creds", "ann:pass")
        assert {d for d, _ in secret.layers} <= got.keys()


def test_a_limited_cable_carries_what_it_says(world: World) -> None:
    near, far = world.node("near"), world.node("far", mbit=40)
    (far.home / "blob").write_bytes(bytes(5_000_000))
    far.start("http", "python3", "-m", "http.server", "--directory", far.home, "8000")
    wait_for(lambda: far.listens(8000), "the server")
    began = time.monotonic()
    near.run("curl", "-sSf", "-o", "/dev/null", f"http://{far.ip}:8000/blob")
    assert 0.8 < time.monotonic() - began < 3.0  # 5 MB at 40 Mb/s: 1.0 s and the headers
