"""An origin that goes wrong as its URL says: `python faulty.py PORT CONTENT_FILE`.

/ok/NAME            the content, ranges and all
/status-N/NAME      status N, always
/flaky-N/NAME       status N to the first two requests of NAME, then the content
/cut/NAME           every answer of more than 100 kB breaks off after a quarter of what it promised
/cut-once/NAME      only the first one with a body does
/no-ranges-cut/NAME every answer breaks off, and ranges are not known
/silent/NAME        promises, sends a quarter, then nothing for two minutes
/chunked/NAME       chunked, no length
/lies/NAME          other bytes than the content, same length
"""

from __future__ import annotations

import collections
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK = 65536


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content: bytes
    asked: collections.Counter[str] = collections.Counter()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        fault = self.path.split("/")[1]
        self.asked[self.path] += 1
        status = re.fullmatch(r"(status|flaky)-(\d+)", fault)
        if status and (status[1] == "status" or self.asked[self.path] <= 2):
            self._refuse(int(status[2]))
            return
        content = self.content[::-1] if fault == "lies" else self.content
        start, end = 0, len(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        ranged = asked is not None and fault != "no-ranges-cut" and fault != "chunked"
        if ranged:
            assert asked is not None
            start = int(asked[1])
            end = min(int(asked[2]) + 1, end) if asked[2] else end
        self.send_response(206 if ranged else 200)
        self.send_header("ETag", '"one"')
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        elif fault not in ("no-ranges-cut", "chunked"):
            self.send_header("Accept-Ranges", "bytes")
        if fault == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "chunked":
            for at in range(start, end, BLOCK):
                piece = content[at : min(at + BLOCK, end)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        bodies = f"{self.path} bodies"
        self.asked[bodies] += 1
        cut = (fault == "cut" and end - start > 100_000) or fault == "no-ranges-cut"
        cut = cut or (fault == "cut-once" and self.asked[bodies] == 1)
        if cut or fault == "silent":
            self.wfile.write(content[start : start + (end - start) // 4])
            self.wfile.flush()
            if fault == "silent":
                time.sleep(120)
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content[start:end])

    def _refuse(self, status: int) -> None:
        body = b"the origin's own words\n"
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="faulty"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, form: str, *args: object) -> None:
        print(self.command, self.headers.get("Range", "-"), form % args, flush=True)


def main() -> None:
    Handler.content = Path(sys.argv[2]).read_bytes()
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
