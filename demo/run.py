"""Pull an image and a file to several nodes at once, straight from a slow registry and then by Dragonfly.

Everything runs on this machine: a registry with a limited uplink, a supernode, and a daemon for
each node on loopback ports, with their data in a temporary folder. Exit status 0 only where every
node got the right bytes and the registry sent them about once.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from demo.image import Image, make_image
from demo.origin import Origin
from demo.pull import Progress, dfget, pull_file, pull_image
from demo.screen import Phase, table, watch
from demo.swarm import Swarm
from dragonfly.core.units import format_rate, format_size, parse_rate, parse_size
from dragonfly.errors import UsageError

#: Shares of an image's size: layers differ in real life, too.
_LAYERS = (0.5, 0.25, 0.15, 0.08, 0.02)
#: More than this often the registry must not send anything that goes by Dragonfly.
_COPIES_ALLOWED = 1.02


def main() -> int:
    options = _options()
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="dragonfly-demo-"))
    try:
        return _docker(console, options) if options.docker else _run(console, folder, options)
    except KeyboardInterrupt:
        console.print("interrupted; everything is stopped and removed")
        return 130
    except RuntimeError as error:
        console.print(f"[red]failed:[/] {error}", markup=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(console: Console, folder: Path, options: argparse.Namespace) -> int:
    console.print(
        f"A registry with an uplink of {format_rate(options.rate)}; {options.nodes} nodes pull "
        f"an image of {format_size(options.image_size)} and a file of {format_size(options.file_size)}, "
        "all at once."
    )
    image = _image(folder / "image", options.image_size)
    file = folder / "model"
    file.write_bytes(random.Random("model").randbytes(options.file_size))
    digest = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    names = [f"node{n + 1}" for n in range(options.nodes)]
    with Origin(options.rate, image.folder, {image.tag: image.manifest}, {"model": file}) as origin:
        round_ = _Round(console, origin, names)
        phases = [
            round_.run("image", "native", image.blob_bytes, lambda _n, p: pull_image(origin.url, image, p)),
            round_.run(
                "file", "native", options.file_size,
                lambda _n, p: pull_file(origin.url, "/files/model", digest, p),
            ),
        ]  # fmt: skip
        console.print("starting a supernode with an uplink like the registry's, and a daemon for each node")
        with Swarm(folder, options.nodes, origin.url, options.rate) as swarm:
            phases += _by_dragonfly(round_, swarm, image, digest, folder, options.file_size)
            swarm.check()
    phases.sort(key=lambda phase: phase.what != "image")
    console.print(table(phases, names))
    return _verdict(console, phases, options.nodes)


def _docker(console: Console, options: argparse.Namespace) -> int:
    """The same with real dockers; loaded only here, for it needs the end-to-end tests' nodes."""
    from demo.docker import run_docker

    console.print(
        f"A registry with an uplink of {format_rate(options.rate)}; {options.nodes} dockers pull "
        f"an image of {format_size(options.image_size)}, all at once."
    )
    phases = run_docker(console, options.nodes, lambda folder: _image(folder, options.image_size), options.rate)
    console.print(table(phases, [f"n{n}" for n in range(options.nodes)]))
    return _verdict(console, phases, options.nodes)


def _image(folder: Path, size: int) -> Image:
    return make_image(folder, "demo/app", [int(size * share) for share in _LAYERS])


def _by_dragonfly(round_: _Round, swarm: Swarm, image: Image, digest: str, folder: Path, size: int) -> list[Phase]:
    nodes = {node.name: node for node in swarm.nodes}

    def image_through(name: str, progress: Progress) -> None:
        pull_image(nodes[name].url, image, progress)

    def file_through(name: str, progress: Progress) -> None:
        dfget(f"{round_.origin.url}/files/model", folder / f"{name}.model", digest, nodes[name], progress)

    def run(what: str, size: int, pull: Callable[[str, Progress], None]) -> Phase:
        before = _from_peers(swarm)
        phase = round_.run(what, "Dragonfly", size, pull)
        return replace(phase, peer_bytes=_from_peers(swarm) - before)

    return [run("image", image.blob_bytes, image_through), run("file", size, file_through)]


def _from_peers(swarm: Swarm) -> int:
    """Bytes that the nodes had from each other so far, by their own metrics."""
    return sum(node.received_from().get("peers", 0) for node in swarm.nodes)


class _Round:
    """Has all nodes do one thing at the same time, and measures."""

    def __init__(self, console: Console, origin: Origin, names: list[str]) -> None:
        self.console, self.origin, self.names = console, origin, names

    def run(self, what: str, how: str, size: int, pull: Callable[[str, Progress], None]) -> Phase:
        progress = [Progress(size) for _ in self.names]

        def work(name: str, own: Progress) -> None:
            try:
                pull(name, own)
            except (OSError, ValueError) as error:
                own.error = str(error) or type(error).__name__
            finally:
                own.done = True

        before = self.origin.sent
        threads = [
            threading.Thread(target=work, args=pair, daemon=True) for pair in zip(self.names, progress, strict=True)
        ]
        for thread in threads:
            thread.start()
        watch(self.console, f"{what}, {how}", self.names, progress)
        for thread in threads:
            thread.join()
        for name, own in zip(self.names, progress, strict=True):
            if own.error:
                self.console.print(f"[red]{name}: {own.error}")
        seconds = tuple(own.seconds for own in progress)
        self.console.print(f"  {what}, {how}: last node after {max(seconds):.1f} s")
        verified = sum(not own.error for own in progress)
        return Phase(what, how, size, seconds, self.origin.sent - before, verified)


def _verdict(console: Console, phases: list[Phase], nodes: int) -> int:
    wrong = [f"{p.what}, {p.how}: {p.verified} of {nodes} nodes verified" for p in phases if p.verified < nodes]
    wrong += [
        f"{p.what}: the registry sent it {p.copies:.2f} times"
        for p in phases
        if p.how == "Dragonfly" and p.copies > _COPIES_ALLOWED
    ]
    for line in wrong:
        console.print(f"[red]wrong:[/] {line}")
    if not wrong:
        for what in dict.fromkeys(phase.what for phase in phases):
            native, ours = (max(p.seconds) for p in phases if p.what == what)
            console.print(f"The {what} reached the last node [bold]{native / ours:.1f} ×[/] as fast as natively.")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    def of(parse: Callable[[str], int]) -> Callable[[str], int]:
        def checked(text: str) -> int:
            try:
                return parse(text)
            except UsageError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        return checked

    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=6, help="how many (default 6)")
    parser.add_argument("--rate", type=of(parse_rate), default="200Mbit", help="the registry's uplink")
    parser.add_argument("--image-size", type=of(parse_size), default="60M")
    parser.add_argument("--file-size", type=of(parse_size), default="60M")
    parser.add_argument("--docker", action="store_true", help="with real dockerd and docker pull (root)")
    options = parser.parse_args()
    if options.nodes < 1:
        parser.error("--nodes: at least one")
    return options


if __name__ == "__main__":
    sys.exit(main())
