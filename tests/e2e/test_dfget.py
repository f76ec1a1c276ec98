"""Files by dfget on many nodes: the source's share, a dying supernode, a lying peer, a failing origin."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.nodes import Node, wait_for
from e2e.origins import Faulty, Nginx
from e2e.world import COMMANDS, Daemon, Supernode, World, at_once, dfget

pytestmark = pytest.mark.needs("nginx")

MB = 1_000_000


@pytest.fixture(scope="module")
def origin(world: World) -> Nginx:
    node = world.node("origin")
    return Nginx(node, node.home / "www")


@pytest.fixture(scope="module")
def supernode(world: World) -> Supernode:
    return world.supernode()


def test_ten_nodes_at_once_cost_the_origin_one_file(world: World, origin: Nginx, supernode: Supernode) -> None:
    digest = put(origin, "thirty", 30 * MB)
    nodes = world.nodes(10)
    world.daemons(nodes, supernode)
    origin.mark()
    sent = origin.node.sent()
    results = at_once(nodes, lambda node: dfget(node, f"{origin.url}/thirty", "--digest", f"sha256:{digest}"))
    for result in results:
        assert result.status == 0, result.errors
        assert sha256(result.file) == digest
    assert origin.body_bytes("/thirty") <= 1.02 * 30 * MB
    assert origin.node.sent() - sent <= 1.06 * 30 * MB
    stats = supernode.stats()
    assert stats["p2p_bytes"] > 0, "no peer sent anything to another"


def test_digests_of_many_come_from_neighbours(world: World, origin: Nginx) -> None:
    """A task of three counts as many here: the others are told only what the digests come to."""
    digest = put(origin, "many", 10 * MB)
    config, never = world.base / "many.yaml", world.base / "never.yaml"
    config.write_text("scheduler: {digest_lists: 2}\n")
    never.write_text("engine: {swarm: {digest_late_s: 600s, digest_patience_s: 600s}}\n")  # … ask seed or supernode
    supernode = world.supernode("--config", str(config), name="many")
    nodes = [world.node(f"m{i}", mbit=50) for i in range(6)]
    world.daemons(nodes, supernode, "--config", str(never))
    origin.mark()
    for wave in (nodes[:4], nodes[4:]):
        for result in at_once(wave, lambda node: dfget(node, f"{origin.url}/many", "--digest", f"sha256:{digest}")):
            assert result.status == 0, result.errors
            assert sha256(result.file) == digest
    assert origin.body_bytes("/many") <= 1.02 * 10 * MB


def test_pieces_are_as_large_as_the_rate_wants_and_as_they_are_elsewhere(world: World, origin: Nginx) -> None:
    size = 18 * MB
    digest = put(origin, "large", size)
    config = world.base / "fast.yaml"
    config.write_text("scheduler: {node_rate: 1GiB}\n")
    fast = world.supernode("--config", str(config), name="fast")
    one, two = world.node("f1"), world.node("f2")
    second = world.daemons([one, two], fast)[1]

    def fetch(node: Node) -> None:
        result = dfget(node, f"{origin.url}/large", "--digest", f"sha256:{digest}")
        assert result.status == 0, result.errors
        assert sha256(result.file) == digest

    def piece_size() -> int:
        (task,) = fast.api("tasks")  # type: ignore[misc]
        return int(task["piece_size"])

    def both_are_back() -> bool:
        tasks = {peer["address"]: peer["tasks"] for peer in fast.api("peers")}  # type: ignore[attr-defined]
        return tasks.get(one.ip) == 1 and two.ip in tasks

    fetch(one)
    assert piece_size() == 64 * 1024
    # A supernode that knows nothing of it any more, and would cut it smaller.
    config.write_text("")
    fast.process.stop()
    shutil.rmtree(fast.node.home / "supernode")
    fast.restart()
    wait_for(both_are_back, "the daemons")
    fetch(two)
    assert piece_size() == 64 * 1024
    assert metric(second, 'dragonfly_received_bytes_total{origin="source"}') == 0


def test_dfget_without_a_daemon_is_a_peer_of_its_own(world: World, origin: Nginx, supernode: Supernode) -> None:
    digest = put(origin, "alone", 5 * MB)
    nodes = [world.node("bare1"), world.node("bare2")]
    origin.mark()
    for node in nodes:
        result = dfget(node, f"{origin.url}/alone", "--supernode", supernode.address, "--seed-time", "5s")
        assert result.status == 0, result.errors
        assert sha256(result.file) == digest
    assert origin.body_bytes("/alone") <= 1.02 * 5 * MB


def test_pulls_complete_though_the_supernode_is_killed(world: World, origin: Nginx) -> None:
    digest = put(origin, "long", 20 * MB)
    supernode = world.supernode(name="mortal", mbit=50)
    nodes = [world.node(f"k{i}", mbit=50) for i in range(3)]
    world.daemons(nodes, supernode)
    before = [node.received() for node in nodes]
    with ThreadPoolExecutor() as pool:
        pulls = [pool.submit(dfget, node, f"{origin.url}/long") for node in nodes]
        wait_for(
            lambda: min(n.received() - at for n, at in zip(nodes, before, strict=True)) > 3 * MB,
            "the first bytes",
        )
        assert not any(pull.done() for pull in pulls), "too late to kill it in the middle"
        supernode.process.kill()
        for pull in pulls:
            result = pull.result()
            assert result.status == 0, result.errors
            assert sha256(result.file) == digest


def test_a_restarted_daemon_goes_on_with_what_it_has(world: World, origin: Nginx, supernode: Supernode) -> None:
    digest = put(origin, "resumed", 20 * MB)
    node = world.node("reborn", mbit=50)
    (daemon,) = world.daemons([node], supernode)
    with ThreadPoolExecutor() as pool:
        before = node.received()
        first = pool.submit(dfget, node, f"{origin.url}/resumed", output="first")
        wait_for(lambda: node.received() - before > 8 * MB, "the first bytes")
        daemon.process.kill()
        interrupted = first.result()
    if interrupted.status != 0:
        assert not interrupted.file.exists()
    daemon.restart()
    before = node.received()
    result = dfget(node, f"{origin.url}/resumed", output="second")
    assert result.status == 0, result.errors
    assert sha256(result.file) == digest
    assert node.received() - before < 16 * MB, "it began anew"


def test_a_restarted_supernode_still_has_what_it_read(world: World, origin: Nginx) -> None:
    digest = put(origin, "kept", 6 * MB)
    supernode = world.supernode(name="keeper")
    one, two = world.node("keep1"), world.node("keep2")
    first, second = world.daemons([one, two], supernode)
    assert dfget(one, f"{origin.url}/kept").status == 0
    first.process.stop()
    supernode.restart()
    wait_for(lambda: second.healthy(), "the daemon")
    time.sleep(1.5)  # the second daemon comes back to the new supernode
    origin.mark()
    result = dfget(two, f"{origin.url}/kept")
    assert result.status == 0, result.errors
    assert sha256(result.file) == digest
    assert origin.body_bytes("/kept") <= 0.02 * 6 * MB


def test_a_peer_with_corrupt_pieces_harms_nobody(world: World, origin: Nginx) -> None:
    """A finished peer's data is flipped on disk; the others pull while it offers everything."""
    size = 16 * MB
    digest = put(origin, "flipped", size)
    supernode = world.supernode("--upload-limit", "2M", name="slow")  # so that peers are asked, too
    liar = world.node("liar")
    (bad,) = world.daemons([liar], supernode)
    assert dfget(liar, f"{origin.url}/flipped").status == 0
    assert flip(bad.data, size) > 0, "found no data file to flip"
    honest = [world.node(f"h{i}") for i in range(3)]
    daemons = world.daemons(honest, supernode)
    results = at_once(honest, lambda node: dfget(node, f"{origin.url}/flipped"))
    for result in results:
        assert result.status == 0, result.errors
        assert sha256(result.file) == digest
    # Met, and isolated: after a few wrong pieces nobody asks it any more.
    corrupt = [metric(daemon, 'dragonfly_pieces_total{outcome="corrupt"}') for daemon in daemons]
    assert sum(corrupt) > 0, "nobody asked the liar: the test shows nothing"
    assert max(corrupt) <= 12, corrupt


@pytest.fixture(scope="module")
def faulty(world: World) -> Faulty:
    node = world.node("faulty")
    content = node.home / "content"
    content.write_bytes(random.Random("faulty").randbytes(3 * MB))
    return Faulty(node, content)


@pytest.fixture(scope="module")
def puller(world: World, supernode: Supernode) -> Node:
    node = world.node("puller")
    world.daemons([node], supernode)
    return node


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_with_its_status(puller: Node, faulty: Faulty, status: int) -> None:
    result = dfget(puller, faulty.url(f"status-{status}"), output=f"refused-{status}")
    assert result.status == 4, result.errors
    assert str(status) in result.errors
    assert faulty.url(f"status-{status}") in result.errors
    nothing_left(result.file)


def test_an_origin_that_always_fails_ends_in_a_clear_error(puller: Node, faulty: Faulty) -> None:
    result = dfget(puller, faulty.url("status-500"), output="failed", timeout=60)
    assert result.status in (1, 4), result.errors
    assert "500" in result.errors
    nothing_left(result.file)


@pytest.mark.parametrize("fault", ["flaky-503", "cut-once", "cut", "chunked"])
def test_what_can_be_mended_is(puller: Node, faulty: Faulty, fault: str) -> None:
    """A busy origin is asked again; a broken-off read goes on where it broke off."""
    name = f"mended-{fault}"
    result = dfget(puller, faulty.url(fault, name), output=name, timeout=60)
    assert result.status == 0, result.errors
    assert sha256(result.file) == sha256(faulty.node.home / "content")


def test_an_origin_that_cuts_off_without_ranges_leaves_no_file(puller: Node, faulty: Faulty) -> None:
    result = dfget(puller, faulty.url("no-ranges-cut"), output="never", timeout=90)
    assert result.status == 1, result.errors
    nothing_left(result.file)


def test_a_wrong_digest_has_its_own_exit_status(puller: Node, faulty: Faulty) -> None:
    digest = sha256(faulty.node.home / "content")
    result = dfget(puller, faulty.url("lies"), "--digest", f"sha256:{digest}", output="lied")
    assert result.status == 3, result.errors
    nothing_left(result.file)


def test_an_origin_that_is_not_there(puller: Node, faulty: Faulty) -> None:
    result = dfget(puller, f"http://{faulty.node.ip}:9/none", output="none", timeout=60)
    assert result.status == 1, result.errors
    assert len(result.errors.strip().splitlines()) == 1, "one line says it"
    nothing_left(result.file)


def test_bad_usage_is_told_from_a_failed_transfer(puller: Node) -> None:
    done = puller.run(COMMANDS / "dfget", "http://x/", "--limit-rate", "fast", "-o", "x", check=False)
    assert done.returncode == 2
    assert "fast" in done.stderr


def put(origin: Nginx, name: str, size: int) -> str:
    """Random bytes under that name; their sha256."""
    data = random.Random(name).randbytes(size)
    (origin.root / name).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def metric(daemon: Daemon, name: str) -> float:
    """A value of /metrics; 0 where it is not there yet."""
    for line in daemon.metrics().splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[-1])
    return 0.0


def nothing_left(file: Path) -> None:
    """Neither the file nor anything half done beside it."""
    left = [p.name for p in file.parent.iterdir() if file.name in p.name and p.suffix != ".log"]
    assert left == []


def flip(folder: Path, size: int) -> int:
    """Change bytes all over each large file below; how many files that were."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size >= size]
    for file in found:
        with file.open("r+b") as data:
            for at in range(0, size, 50_000):
                data.seek(at)
                byte = data.read(1)
                data.seek(at)
                data.write(bytes([byte[0] ^ 0xFF]))
    return len(found)
