"""Web servers that files come from: nginx, and one that misbehaves on demand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from e2e.nodes import Node, Process, wait_for

_NGINX = """
daemon off; worker_processes 1; pid {home}/{name}.pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  log_format bytes '$request_method $uri $status $body_bytes_sent';
  access_log {home}/{name}.access bytes;
  types {{ text/html html; }}
  default_type application/octet-stream; sendfile on; tcp_nopush on;
  client_body_temp_path {home}/{name}.tmp; proxy_temp_path {home}/{name}.tmp;
  fastcgi_temp_path {home}/{name}.tmp; uwsgi_temp_path {home}/{name}.tmp; scgi_temp_path {home}/{name}.tmp;
  server {{ listen {listen}; server_name _; root {root}; autoindex on; {extra} }}
}}
"""


class Nginx:
    """nginx over a folder, with or without TLS."""

    def __init__(
        self, node: Node, root: Path, *, port: int = 80, tls: tuple[Path, Path] | None = None,
        extra: str = "", name: str = "nginx",
    ) -> None:  # fmt: skip
        self.node, self.root, self.port, self.tls = node, root, port, tls
        root.mkdir(parents=True, exist_ok=True)
        for folder in [root, *root.parents]:
            if folder.stat().st_mode & 0o005 == 0o005:
                break
            folder.chmod(0o755)  # nginx's workers are another user
        self._access = node.home / f"{name}.access"
        if tls:
            extra += f"\nssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};"
        config = node.home / f"{name}.conf"
        config.write_text(
            _NGINX.format(home=node.home, name=name, listen=f"{port}{' ssl' if tls else ''}", root=root, extra=extra)
        )
        self.process: Process = node.start(name, "nginx", "-c", config, "-e", "stderr")
        wait_for(lambda: node.listens(port) or not self.process.alive, f"nginx on {node.name}")
        assert self.process.alive, self.process.output()
        self._seen = 0

    @property
    def url(self) -> str:
        scheme, plain = ("https", 443) if self.tls else ("http", 80)
        return f"{scheme}://{self.node.ip}" + ("" if self.port == plain else f":{self.port}")

    def requests(self) -> list[tuple[str, str, int, int]]:
        """(method, path, status, bytes of the body) of what it answered since `mark`."""
        lines = self._access.read_text().splitlines()[self._seen :] if self._access.exists() else []
        found = [re.fullmatch(r"(\S+) (.*) (\d+) (\d+)", line) for line in lines]
        return [(m[1], m[2], int(m[3]), int(m[4])) for m in found if m]

    def mark(self) -> None:
        self._seen = len(self._access.read_text().splitlines()) if self._access.exists() else 0

    def body_bytes(self, path: str = "") -> int:
        """Bytes of bodies that it sent since `mark`, of paths that end like this."""
        return sum(size for method, at, _, size in self.requests() if method == "GET" and at.endswith(path))


class Faulty:
    """The server of faulty.py on a node; see there for what it can do wrong."""

    def __init__(self, node: Node, content: Path, *, port: int = 8080) -> None:
        self.node, self.port = node, port
        script = Path(__file__).with_name("faulty.py")
        self.process = node.start("faulty", sys.executable, script, str(port), content)
        wait_for(lambda: node.listens(port), "the faulty server")

    def url(self, fault: str, name: str = "blob") -> str:
        return f"http://{self.node.ip}:{self.port}/{fault}/{name}"
