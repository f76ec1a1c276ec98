"""The demo with real dockers: each node a network namespace with a dockerd, unchanged and not restarted.

The nodes, and the registry (Debian's docker-registry behind a cable of limited rate), are those of the
end-to-end tests; see tests/e2e/nodes.py.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from demo.image import Image
from demo.pull import Progress
from demo.screen import Phase, watch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from e2e.nodes import NodeError, missing_means
from e2e.registries import Registry
from e2e.runtimes import Docker, lacking
from e2e.world import World, push

_DOMAIN = "images.p2p"
_TOOLS = ("dockerd", "docker", "docker-registry", "skopeo")


def run_docker(console: Console, count: int, image: Callable[[Path], Image], rate: int) -> list[Phase]:
    """Pull one image by `docker pull` on `count` nodes, natively and by a P2P domain.

    `rate` of the registry's cable in bytes/s. RuntimeError where this machine can't.
    """
    missing = lacking(*_TOOLS)
    reason = missing_means() or (f"not installed: {missing} (as root: make e2e-packages)" if missing else "")
    if reason:
        raise RuntimeError(reason)
    world = World()
    try:
        return _run(console, world, count, image(world.base / "image"), rate)
    except NodeError as error:
        raise RuntimeError(f"{error}\n{world.net.logs(10)}") from None
    finally:
        world.close()


def _run(console: Console, world: World, count: int, image: Image, rate: int) -> list[Phase]:
    with console.status("starting a registry and the dockers"):
        registry = world.registry(world.base / "storage")
        push(registry.node, image, registry)
        registry.node.limit(rate * 8 / 1e6)
        nodes = world.nodes(count)
        for node in nodes:
            node.knows(**{_DOMAIN: "127.0.0.1"})
        dockers = [Docker(node, "--insecure-registry", registry.host) for node in nodes]
    pids = [docker.process.pid for docker in dockers]
    native = _pull(console, dockers, registry, image, registry.host, "native")
    for docker in dockers:
        docker.cli("image", "rm", f"{registry.host}/{image.name}:{image.tag}")
    with console.status("starting a supernode and the daemons beside the running dockers"):
        supernode = world.supernode()
        for daemon in world.daemons(
            nodes, supernode, "--tls-listen", "127.0.0.1:443", "--map", f"{_DOMAIN}={registry.url}"
        ):
            daemon.trust_in(f"/etc/docker/certs.d/{_DOMAIN}")
    ours = _pull(console, dockers, registry, image, _DOMAIN, "Dragonfly")
    if [docker.process.pid for docker in dockers] != pids:
        raise RuntimeError("a dockerd was restarted")
    return [native, ours]


def _pull(console: Console, dockers: list[Docker], registry: Registry, image: Image, host: str, how: str) -> Phase:
    progress = [Progress(image.blob_bytes) for _ in dockers]
    reference = f"{host}/{image.name}:{image.tag}"

    def work(docker: Docker, own: Progress) -> None:
        began = time.monotonic()
        try:
            docker.pull(reference, timeout=300)
            own.seconds = time.monotonic() - began
            if docker.layers(reference) != list(image.diff_ids):
                own.error = "other layers than were pushed"
        except NodeError as error:
            own.error = str(error)
        finally:
            own.done = True

    def count_bytes() -> None:
        with contextlib.suppress(OSError):  # a node is gone: the demo was interrupted
            look()

    def look() -> None:
        start = [docker.node.received() for docker in dockers]
        while not all(own.done for own in progress):
            for docker, own, at in zip(dockers, progress, start, strict=True):
                own.had = min(own.total, docker.node.received() - at)
            time.sleep(0.1)

    registry.mark()
    threads = [threading.Thread(target=work, args=pair) for pair in zip(dockers, progress, strict=True)]
    threads.append(threading.Thread(target=count_bytes))
    for thread in threads:
        thread.start()
    watch(console, f"docker pull, {how}", [docker.node.name for docker in dockers], progress)
    for thread in threads:
        thread.join()
    for docker, own in zip(dockers, progress, strict=True):
        if own.error:
            console.print(f"[red]{docker.node.name}: {own.error}")
    seconds = tuple(own.seconds for own in progress)
    console.print(f"  docker pull, {how}: last node after {max(seconds):.1f} s")
    verified = sum(not own.error for own in progress)
    return Phase("docker pull", how, image.blob_bytes, seconds, registry.blob_bytes(), verified)
