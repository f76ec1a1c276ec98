"""Plain clients through the forward proxy, with and without hijack: curl, wget, pip, apt, git-lfs."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from e2e.certificates import Authority
from e2e.nodes import Node, wait_for
from e2e.origins import Nginx
from e2e.world import MIRROR, Daemon, Supernode, World

pytestmark = pytest.mark.needs("nginx", "curl")

SITE = "files.example"
OTHER = "other.example"
PROXY = f"http://127.0.0.1:{MIRROR}"
MB = 1_000_000


@pytest.fixture(scope="module")
def authority(world: World) -> Authority:
    return Authority(world.base / "site-ca")


@pytest.fixture(scope="module")
def site(world: World, authority: Authority) -> Nginx:
    """One folder by http and by https, under two names."""
    node = world.node("site")
    Nginx(node, node.home / "www", port=80, name="plain")
    return Nginx(node, node.home / "www", port=443, tls=authority.issue(SITE, OTHER), name="tls")


@pytest.fixture(scope="module")
def daemons(world: World, site: Nginx, authority: Authority) -> list[Daemon]:
    """Everything below /p2p/ by the swarm; CONNECT to SITE is ended by the daemon, others pass untouched."""
    supernode_node = world.node("super")
    nodes = world.nodes(2)
    for node in [supernode_node, *nodes]:
        node.knows(**{SITE: site.node.ip, OTHER: site.node.ip})
    config = world.base / "dfdaemon.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "upstream_ca": str(authority.certificate),
                "rules": [{"regex": "/p2p/.*"}, {"regex": "/direct/.*", "direct": True}],
                "hijack": [{"regex": rf"^{SITE}:443$".replace(".", r"\.")}],
            }
        )
    )
    return world.daemons(nodes, Supernode(supernode_node), "--config", str(config))


@pytest.fixture(scope="module")
def node(daemons: list[Daemon]) -> Node:
    return daemons[0].node


def test_curl_http(daemons: list[Daemon], site: Nginx) -> None:
    digest = put(site, "p2p/plain.bin", 5 * MB)
    sent = site.node.sent()
    for daemon in daemons:
        daemon.node.run("curl", "-sSf", "-x", PROXY, "-o", daemon.node.home / "plain", f"http://{SITE}/p2p/plain.bin")
        assert sha256(daemon.node.home / "plain") == digest
    assert site.node.sent() - sent < 1.1 * 5 * MB


def test_curl_https_by_hijack(daemons: list[Daemon], site: Nginx) -> None:
    """A certificate of the daemon's CA for that host; the site is asked once for both nodes."""
    digest = put(site, "p2p/secure.bin", 5 * MB)
    site.mark()
    for daemon in daemons:
        node = daemon.node
        node.run(
            "curl", "-sSf", "-x", PROXY, "--cacert", daemon.ca, "-o", node.home / "secure",
            f"https://{SITE}/p2p/secure.bin",
        )  # fmt: skip
        assert sha256(node.home / "secure") == digest
    assert site.body_bytes("/p2p/secure.bin") <= 1.02 * 5 * MB


def test_connect_without_a_rule_is_tunnelled_untouched(
    node: Node, daemons: list[Daemon], site: Nginx, authority: Authority
) -> None:
    digest = put(site, "p2p/tunnel.bin", MB)
    url = f"https://{OTHER}/p2p/tunnel.bin"
    node.run("curl", "-sSf", "-x", PROXY, "--cacert", authority.certificate, "-o", node.home / "tunnel", url)
    assert sha256(node.home / "tunnel") == digest
    refused = node.run("curl", "-sSf", "-x", PROXY, "--cacert", daemons[0].ca, "-o", "/dev/null", url, check=False)
    assert refused.returncode == 60, "the site's own certificate was not what came"


def test_ranges_head_and_errors_as_from_the_site(node: Node, site: Nginx) -> None:
    put(site, "p2p/ranged.bin", 3 * MB)
    data = (site.root / "p2p" / "ranged.bin").read_bytes()
    url = f"http://{SITE}/p2p/ranged.bin"
    part = node.run("sh", "-c", f"curl -sSf -x {PROXY} -r 1000000-1000099 {url} | od -An -v -tx1 | tr -d ' \\n'")
    assert bytes.fromhex(part.stdout) == data[1_000_000:1_000_100]
    head = node.run("curl", "-sSI", "-x", PROXY, url).stdout.lower()
    assert f"content-length: {len(data)}" in head
    status = node.run("curl", "-sS", "-x", PROXY, "-o", "/dev/null", "-w", "%{http_code}", f"http://{SITE}/p2p/none")
    assert status.stdout == "404"


def test_a_changed_file_is_not_served_from_the_cache(node: Node, site: Nginx) -> None:
    """nginx's ETag and Last-Modified tell: what is cached is asked about before it is given again."""
    for _ in range(2):
        digest = put(site, "p2p/changing.bin", MB)
        node.run("curl", "-sSf", "-x", PROXY, "-o", node.home / "changing", f"http://{SITE}/p2p/changing.bin")
        assert sha256(node.home / "changing") == digest
        time.sleep(1.1)  # ETag and Last-Modified count seconds


def test_first_byte_before_the_last(world: World, node: Node, site: Nginx) -> None:
    """A slow site: the client has bytes long before the whole file can be there."""
    put(site, "p2p/slow.bin", 6 * MB)
    node.limit(24)  # 6 MB take 2 s and a bit
    try:
        done = node.run(
            "curl", "-sSf", "-x", PROXY, "-o", "/dev/null", "-w", "%{time_starttransfer} %{time_total}",
            f"http://{SITE}/p2p/slow.bin",
        )  # fmt: skip
    finally:
        node.limit(2000)
    first, total = (float(x) for x in done.stdout.split())
    assert total > 1.5
    assert first < 0.5 * total


def test_a_range_of_an_unfinished_file_comes_first(node: Node, site: Nginx) -> None:
    """As lazy-loading snapshotters ask: the end of a file while its beginning is still under way."""
    put(site, "p2p/lazy.bin", 12 * MB)
    data = (site.root / "p2p" / "lazy.bin").read_bytes()
    url = f"http://{SITE}/p2p/lazy.bin"
    node.limit(24)  # 12 MB take 4 s and a bit
    try:
        whole = node.start("whole", "curl", "-sSf", "-x", PROXY, "-o", node.home / "lazy", url)
        time.sleep(0.7)
        began = time.monotonic()
        node.run("curl", "-sSf", "-x", PROXY, "-r", "11900000-11999999", "-o", node.home / "end", url)
        waited = time.monotonic() - began
        still_running = whole.alive
        assert whole.popen.wait(60) == 0
    finally:
        node.limit(2000)
    assert (node.home / "end").read_bytes() == data[11_900_000:]
    assert (node.home / "lazy").read_bytes() == data
    assert still_running
    assert waited < 2.5


def test_a_client_that_leaves_takes_nothing_from_others(node: Node, site: Nginx) -> None:
    digest = put(site, "p2p/shared.bin", 6 * MB)
    url = f"http://{SITE}/p2p/shared.bin"
    node.limit(24)
    try:
        leaver = node.start("leaver", "curl", "-sSf", "-x", PROXY, "-o", "/dev/null", url)
        stayer = node.start("stayer", "curl", "-sSf", "-x", PROXY, "-o", node.home / "shared", url)
        time.sleep(0.8)
        assert leaver.alive
        leaver.kill()
        assert stayer.popen.wait(60) == 0
    finally:
        node.limit(2000)
    assert sha256(node.home / "shared") == digest


def test_a_download_that_nobody_needs_ends(node: Node, site: Nginx) -> None:
    put(site, "p2p/unwanted.bin", 40 * MB)
    node.limit(24)
    try:
        before = node.received()
        only = node.start("only", "curl", "-sSf", "-x", PROXY, "-o", "/dev/null", f"http://{SITE}/p2p/unwanted.bin")
        time.sleep(1)
        only.kill()
        time.sleep(8)  # a grace, in case the client comes back; the whole would take 13 s
        at = node.received()
        time.sleep(1)
        assert node.received() - at < 300_000, "it goes on"
        assert at - before < 35 * MB
    finally:
        node.limit(2000)


def test_reload_by_sighup(world: World, daemons: list[Daemon], site: Nginx, authority: Authority) -> None:
    """New rules hold at once; a bad configuration is refused, and the old one stays."""
    node = world.node("reloading")
    node.knows(**{SITE: site.node.ip, OTHER: site.node.ip})
    config = node.home / "dfdaemon.yaml"
    first: dict[str, object] = {"upstream_ca": str(authority.certificate), "rules": [{"regex": "/p2p/"}]}
    config.write_text(yaml.safe_dump(first))
    (daemon,) = world.daemons([node], None, "--config", str(config))
    put(site, "p2p/reload.bin", 10_000)

    def ends_tls(host: str) -> bool:
        """The daemon's own CA signed what came for that host."""
        done = node.run(
            "curl", "-sSf", "-x", PROXY, "--cacert", daemon.ca, "-o", "/dev/null",
            f"https://{host}/p2p/reload.bin", check=False,
        )  # fmt: skip
        return done.returncode == 0

    assert not ends_tls(SITE)
    config.write_text(yaml.safe_dump(first | {"hijack": [{"regex": SITE}], "permit": [{"host": SITE}]}))
    os.kill(daemon.process.pid, signal.SIGHUP)
    wait_for(lambda: ends_tls(SITE), "the new hijack rule")
    refused = node.run("curl", "-sS", "-x", PROXY, "-o", "/dev/null", f"https://{OTHER}/p2p/reload.bin", check=False)
    assert refused.returncode != 0, "the white list did not hold"
    config.write_text("hijak: []\n")
    os.kill(daemon.process.pid, signal.SIGHUP)
    wait_for(lambda: "hijak" in daemon.process.output(), "a word on the bad configuration")
    assert daemon.healthy()
    assert ends_tls(SITE)


@pytest.mark.needs("wget")
def test_wget(node: Node, daemons: list[Daemon], site: Nginx) -> None:
    digest = put(site, "p2p/wget.bin", MB)
    for scheme in ("http", "https"):
        node.run(
            "wget", "-q", "-e", "use_proxy=yes", "-e", f"http_proxy={PROXY}", "-e", f"https_proxy={PROXY}",
            "--ca-certificate", daemons[0].ca, "-O", node.home / "wget", f"{scheme}://{SITE}/p2p/wget.bin",
        )  # fmt: skip
        assert sha256(node.home / "wget") == digest


def test_pip(node: Node, daemons: list[Daemon], site: Nginx) -> None:
    """pip from an index of our own over hijacked https; the wheel goes through the swarm."""
    wheel = make_wheel(site.root / "p2p" / "simple" / "dfprobe", "dfprobe")
    target = node.home / "wheels"
    node.run(
        sys.executable, "-m", "pip", "download", "--isolated", "--no-cache-dir", "--no-deps",
        "--disable-pip-version-check", "--proxy", PROXY, "--cert", daemons[0].ca,
        "--index-url", f"https://{SITE}/p2p/simple/", "--dest", target, "dfprobe",
        env={"PIP_CONFIG_FILE": "/dev/null"},
    )  # fmt: skip
    assert sha256(target / wheel.name) == sha256(wheel)


@pytest.mark.needs("apt-get", "dpkg-deb")
def test_apt(node: Node, site: Nginx) -> None:
    """apt update and download from a repository of our own through the http proxy."""
    package = make_repository(site, node)
    state = node.home / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "got"):
        (state / folder).mkdir(parents=True)
    (state / "status").write_text("")
    (state / "etc" / "sources.list").write_text(f"deb [trusted=yes] http://{SITE}/p2p/apt ./\n")
    options = [
        f"Acquire::http::Proxy={PROXY}", f"Dir::State={state}", f"Dir::State::Lists={state}/lists",
        f"Dir::State::status={state}/status", f"Dir::Cache={state}/cache", f"Dir::Etc={state}/etc",
        "APT::Sandbox::User=root", "Acquire::Languages=none", "Dir::Etc::SourceParts=/dev/null",
    ]  # fmt: skip
    flags = [part for option in options for part in ("-o", option)]
    node.run("apt-get", *flags, "update")
    node.run("sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", state / "got", "apt-get", *flags, "download", "dfprobe")
    (got,) = (state / "got").glob("dfprobe*.deb")
    assert sha256(got) == sha256(package)


@pytest.mark.needs("git", "git-lfs")
def test_git_lfs(world: World, node: Node, daemons: list[Daemon], site: Nginx) -> None:
    """A large file of a git repository by git-lfs; its batch answer is a static file of the site."""
    data = random.Random("lfs").randbytes(2 * MB)
    oid = hashlib.sha256(data).hexdigest()
    (site.root / "p2p" / "lfs").mkdir(parents=True, exist_ok=True)
    (site.root / "p2p" / "lfs" / oid).write_bytes(data)
    lfs_server(world, site, oid, len(data))
    repository = node.home / "repository"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
    script = """
    set -e
    export GIT_CONFIG_NOSYSTEM=1 GIT_LFS_SKIP_SMUDGE=1
    git init -q "$1"; cd "$1"
    git config user.email e2e@example.org; git config user.name e2e
    git lfs install --local >/dev/null
    printf '%s' "$2" > big.bin; echo '*.bin filter=lfs diff=lfs merge=lfs -text' > .gitattributes
    git add . && git commit -qm one
    git config lfs.url "$3"; git config http.proxy "$4"; git config http.sslCAInfo "$5"
    unset GIT_LFS_SKIP_SMUDGE
    git lfs pull
    """
    site.mark()
    node.run(
        "sh", "-c", script, "sh", repository, pointer, f"http://{site.node.ip}:8081/lfs", PROXY,
        daemons[0].ca,
    )  # fmt: skip
    assert sha256(repository / "big.bin") == oid
    assert site.body_bytes(oid) == len(data)


def put(site: Nginx, name: str, size: int) -> str:
    """Fresh random bytes under that name; their sha256."""
    data = random.randbytes(size)
    file = site.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o755)
    file.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def make_wheel(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}.py", "value = " + repr(random.Random(name).randbytes(50_000)))
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    # As nginx would list it, but with the index file that pip asks for.
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file.name}">{file.name}</a>')
    return file


def make_repository(site: Nginx, node: Node) -> Path:
    """A flat Debian repository with one package."""
    folder = site.root / "p2p" / "apt"
    build = node.home / "build"
    (build / "DEBIAN").mkdir(parents=True)
    (build / "DEBIAN").chmod(0o755)
    (build / "usr").mkdir()
    (build / "usr" / "payload").write_bytes(random.Random("deb").randbytes(300_000))
    control = "Package: dfprobe\nVersion: 1.0\nArchitecture: all\nMaintainer: e2e <e2e@example.org>\n"
    (build / "DEBIAN" / "control").write_text(control + "Description: a probe\n")
    folder.mkdir(parents=True)
    package = folder / "dfprobe_1.0_all.deb"
    node.run("dpkg-deb", "--root-owner-group", "-b", build, package)
    data = package.read_bytes()
    packages = (
        f"{control}Filename: ./{package.name}\nSize: {len(data)}\n"
        f"SHA256: {hashlib.sha256(data).hexdigest()}\nDescription: a probe\n"
    ).encode()
    (folder / "Packages").write_bytes(packages)
    (folder / "Packages.gz").write_bytes(gzip.compress(packages))
    sums = ""
    for name in ("Packages", "Packages.gz"):
        listed = (folder / name).read_bytes()
        sums += f" {hashlib.sha256(listed).hexdigest()} {len(listed)} {name}\n"
    date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(time.time() - 60))
    (folder / "Release").write_text(f"Origin: e2e\nSuite: stable\nDate: {date}\nSHA256:\n{sums}")
    for file in folder.iterdir():
        file.chmod(0o644)
    return package


def lfs_server(world: World, site: Nginx, oid: str, size: int) -> None:
    """Answers every batch request with where the one object is."""
    answer = json.dumps(
        {
            "transfer": "basic",
            "objects": [
                {
                    "oid": oid,
                    "size": size,
                    "authenticated": True,
                    "actions": {"download": {"href": f"https://{SITE}/p2p/lfs/{oid}"}},
                }
            ],
        }
    )
    script = f"""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = {answer!r}.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("0.0.0.0", 8081), Handler).serve_forever()
"""
    site.node.start("lfs", sys.executable, "-c", script)
    wait_for(lambda: site.node.listens(8081), "the LFS server")
