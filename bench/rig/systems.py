"""What a system under test is, and the plainest one: curl straight from nginx."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .hosts import Rig
from .namespaces import RigError
from .scenario import Scenario

__all__ = ["HTTP_PORT", "Blob", "Job", "Native", "NotApplicable", "System", "start_nginx", "wait_for"]

HTTP_PORT = 8080


class NotApplicable(RigError):
    """This system has no such thing as this scenario."""


@dataclasses.dataclass(frozen=True)
class Blob:
    """One file to distribute, at `path` and at `/v2/bench/blobs/sha256:HEX` of every nginx."""

    path: Path
    size: int
    hex: str

    @property
    def url_path(self) -> str:
        return f"/v2/bench/blobs/sha256:{self.hex}"


@dataclasses.dataclass
class Job:
    """What a system under test is given: the hosts, the files, and a scratch folder."""

    rig: Rig
    scenario: Scenario
    work: Path
    options: dict[str, str]
    blobs: list[Blob] = dataclasses.field(default_factory=list)

    def prepare(self) -> None:
        """Make the folders and incompressible files, named as a registry names blobs."""
        for name in ["done", "ready", "logs", *(f"c{i}" for i in range(self.scenario.clients))]:
            (self.work / name).mkdir(parents=True, exist_ok=True)
        folder = self.work / "www" / "v2" / "bench" / "blobs"
        folder.mkdir(parents=True)
        for number in range(self.scenario.files):
            body = random.Random(number).randbytes(self.scenario.size // self.scenario.files)
            name = hashlib.sha256(body).hexdigest()
            (folder / f"sha256:{name}").write_bytes(body)
            self.blobs.append(Blob(folder / f"sha256:{name}", len(body), name))

    @property
    def blob(self) -> Blob:
        """The one file; NotApplicable where there are several."""
        if len(self.blobs) != 1:
            raise NotApplicable("one file only")
        return self.blobs[0]

    def folder(self, i: int) -> Path:
        return self.work / f"c{i}"

    def outputs(self, i: int) -> list[Path]:
        """Where client i puts the files, in the order of `blobs`."""
        return [self.folder(i) / blob.path.name for blob in self.blobs]

    def done(self, i: int) -> Path:
        return self.work / "done" / str(i)

    def ready(self, i: int) -> Path:
        return self.work / "ready" / str(i)

    def log(self, name: str) -> IO[bytes]:
        return open(self.work / "logs" / name, "ab")

    def start(self, host: str, argv: list[str], log: str = "") -> subprocess.Popen[bytes]:
        """Start a server or daemon that must run before the clock does.

        Two hundred clients on the machine's cores must not keep a server waiting that has a machine of its own
        in a data centre, so servers go first. (By niceness they would not: the kernel weighs sessions, autogroups,
        against each other before the processes within.)
        """
        with self.log(log or host) as out:
            first = [] if host.startswith("c") else ["chrt", "--rr", "1"]
            return self.rig.start(host, [*first, *argv], stdout=out, stderr=subprocess.STDOUT)


class System:
    """A way to bring the files from the servers to the clients.

    `setup` starts what must run before the clock; `client_argv` is what client i starts when
    the clock does. It is done when it exits with 0, or (`marker`) when `job.done(i)` appears,
    after which it may go on serving. A `gated` client starts before the clock, creates
    `job.ready(i)`, and begins when its standard input, an empty line, ends.
    """

    name = "system"
    marker = False
    gated = False

    def __init__(self, options: dict[str, str] | None = None) -> None:
        self.options = options or {}

    def setup(self, job: Job) -> None:
        raise NotImplementedError

    def client_argv(self, job: Job, i: int) -> list[str]:
        raise NotImplementedError

    def peer_pids(self, job: Job) -> list[int]:
        """The long-living processes, one per client host, whose memory counts."""
        return []

    def details(self, job: Job) -> dict[str, object]:
        """What the system itself has to say after a run, for the result's line."""
        return {}


class Native(System):
    """nginx on every server, curl on every client; client i asks server i modulo their number."""

    name = "native"
    gated = True

    def setup(self, job: Job) -> None:
        if job.scenario.corrupt_share or job.scenario.seed_copies:
            raise NotApplicable("nothing to corrupt or to limit without peers")
        for i in range(job.rig.hosts.servers):
            start_nginx(job, f"s{i}")

    def client_argv(self, job: Job, i: int) -> list[str]:
        return curl(job, i, f"s{i % job.rig.hosts.servers}")


def at_the_line(job: Job, i: int, argv: list[str]) -> list[str]:
    """`argv` as a gated client: two hundred processes that are started one after another do not start at once."""
    return ["sh", "-c", ': > "$0" && read -r line && exec "$@" < /dev/null', str(job.ready(i)), *argv]


def curl(job: Job, i: int, server: str, *more: str) -> list[str]:
    """curl on client i for all files at once, gated: loaded and set up, it reads options until its input ends."""
    argv = ["curl", "-sSf", "--no-progress-meter", *more]
    if len(job.blobs) > 1:
        argv += ["--parallel", "--parallel-immediate", "--parallel-max", str(len(job.blobs))]
    for blob, output in zip(job.blobs, job.outputs(i), strict=True):
        argv += ["-o", str(output), f"http://{job.rig.ip(server)}:{HTTP_PORT}{blob.url_path}"]
    return ["sh", "-c", ': > "$0" && exec "$@"', str(job.ready(i)), *argv, "-K", "-"]


def start_nginx(job: Job, host: str) -> None:
    """Serve the files with sendfile; one process, no access log."""
    home = job.work / "nginx" / host
    home.mkdir(parents=True)
    conf = home / "nginx.conf"
    conf.write_text(f"""
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; sendfile_max_chunk 512k; tcp_nopush on; keepalive_timeout 300;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{ listen {HTTP_PORT} backlog=4096; root {job.work}/www; }}
}}
""")
    job.start(host, ["nginx", "-c", str(conf), "-e", f"{home}/error.log"], f"nginx-{host}")
    wait_for(lambda: (home / "pid").exists(), 10, f"nginx on {host}")


def wait_for(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until ready() is true; RigError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RigError(f"{what}: not ready within {seconds} s")
        time.sleep(0.05)
