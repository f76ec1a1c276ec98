"""nginx, a supernode and daemons on this machine's loopback: no rates, the kernel is the limit."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .namespaces import RigError

__all__ = ["Daemon", "Loopback", "command", "curls"]


def command(name: str) -> str:
    """Path of one of the project's commands; RigError where it is not installed."""
    found = shutil.which(str(Path(sys.executable).parent / name)) or shutil.which(name)
    if found is None:
        raise RigError(f"no command {name!r}; install the project")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Daemon:
    """A dfdaemon; `proxy` is where its clients go."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.proxy = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """End it and remove its store, so that its memory is free for the next one."""
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Loopback:
    """Context manager: everything runs in `work`, and ends with the block."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.nginx: subprocess.Popen[bytes]
        self.nginx_port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def __enter__(self) -> Loopback:
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "www" / "v2" / "bench" / "blobs").mkdir(parents=True)
        home = self.work / "nginx"
        home.mkdir()
        (home / "nginx.conf").write_text(f"""
daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 4;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{ listen 127.0.0.1:{self.nginx_port}; root {self.work}/www; }}
}}
""")
        self.nginx = self._start(["nginx", "-c", str(home / "nginx.conf"), "-e", f"{home}/error.log"], "nginx")
        _wait(self.nginx_port, self.nginx)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    def blob(self, size: int, number: int) -> str:
        """Make a blob; returns its URL at nginx."""
        folder = self.work / "www" / "v2" / "bench" / "blobs"
        hasher, rng = hashlib.sha256(), random.Random(number)
        with open(folder / "new", "wb") as file:
            for at in range(0, size, 1 << 22):
                body = rng.randbytes(min(1 << 22, size - at))
                hasher.update(body)
                file.write(body)
        name = f"sha256:{hasher.hexdigest()}"
        (folder / "new").rename(folder / name)
        return f"http://127.0.0.1:{self.nginx_port}/v2/bench/blobs/{name}"

    @contextmanager
    def supernode(self) -> Iterator[Supernode]:
        """A supernode of its own, empty, and gone after the block with its daemons."""
        self._count += 1
        folder = self.work / f"supernode-{self._count}"
        port = _free_port()
        argv = [command("supernode"), "--listen", f"127.0.0.1:{port}", "--peer-listen", f"127.0.0.1:{_free_port()}"]
        argv += ["--advertise", "127.0.0.1", "--data-dir", str(folder), "--log-level", "warning"]
        process = self._start(argv, f"supernode-{self._count}")
        _wait(port, process)
        found = Supernode(self, process, port)
        try:
            yield found
        finally:
            for one in [*(daemon.process for daemon in found.daemons), process]:
                self._processes.remove(one)
                one.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.wait(10)
                one.kill()
                one.wait()
            for gone in [folder, *(daemon.folder for daemon in found.daemons)]:
                shutil.rmtree(gone, ignore_errors=True)

    def _start(self, argv: list[str], log: str) -> subprocess.Popen[bytes]:
        with open(self.work / f"{log}.log", "ab") as out:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        self._processes.append(process)
        return process


class Supernode:
    """A running supernode, which daemons can be added to."""

    def __init__(self, home: Loopback, process: subprocess.Popen[bytes], port: int) -> None:
        self._home = home
        self._process = process
        self._port = port
        self.daemons: list[Daemon] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    def daemon(self, *more: str) -> Daemon:
        """Start a daemon with an empty store; returns when it answers."""
        self._home._count += 1
        name = f"daemon-{self._home._count}"
        folder, port = self._home.work / name, _free_port()
        argv = [command("dfdaemon"), "--supernode", f"127.0.0.1:{self._port}", "--data-dir", str(folder)]
        argv += ["--listen", f"127.0.0.1:{port}", "--peer-listen", f"127.0.0.1:{_free_port()}"]
        argv += ["--advertise", "127.0.0.1", "--log-level", "warning", *more]
        process = self._home._start(argv, name)
        found = Daemon(process, port, folder)
        self.daemons.append(found)
        _wait(port, process)
        return found


def _wait(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            raise RigError(f"{process.args!r:.200} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise RigError(f"{process.args!r:.200} does not listen")
        time.sleep(0.02)


def curls(pairs: list[tuple[str, Path, str]], *, check: bool = True) -> float:
    """Seconds that curl takes for all `(url, output, proxy or "")` at once, each in its own process.

    With `check` the digest in each URL is compared, after the clock has stopped; RigError if
    it differs or a curl fails. The outputs are removed.
    """
    running = []
    began = time.perf_counter()
    for url, output, proxy in pairs:
        argv = ["curl", "-sSf", "-o", str(output), *(["-x", proxy] if proxy else ["--noproxy", "*"]), url]
        running.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
    codes = [process.wait() for process in running]
    took = time.perf_counter() - began
    if any(codes):
        raise RigError(f"curl failed: {codes}")
    for url, output, _ in pairs:
        if check:
            with open(output, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if not url.endswith(found):
                raise RigError(f"wrong bytes from {url}")
        output.unlink()
    return took
