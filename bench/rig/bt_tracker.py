"""A minimal HTTP tracker for the BitTorrent systems: `bt_tracker.py ADDRESS PORT NUMWANT INTERVAL_S`.

Compact lists of randomly chosen peers; seeds get no seeds. Standard library only.
"""

from __future__ import annotations

import random
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def bencode(value: object) -> bytes:
    """BitTorrent's encoding of int, bytes, list and dict (bytes keys)."""
    match value:
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            return b"d" + b"".join(bencode(k) + bencode(v) for k, v in sorted(value.items())) + b"e"
    raise TypeError(type(value))


class Swarms:
    """Who announced which torrent, and how many bytes each still lacks."""

    def __init__(self, numwant: int, interval: int) -> None:
        self._numwant = numwant
        self._interval = interval
        self._peers: dict[str, dict[tuple[str, int], int]] = {}
        self._lock = threading.Lock()

    def announce(self, address: str, args: dict[str, str]) -> tuple[bytes, int]:
        """The answer, and how many peers it holds."""
        me = (address, int(args.get("port", "0")))
        left = int(args.get("left", "1"))
        with self._lock:
            peers = self._peers.setdefault(args.get("info_hash", ""), {})
            if args.get("event") == "stopped":
                peers.pop(me, None)
            else:
                peers[me] = left
            pool = [peer for peer, other in peers.items() if peer != me and (left or other)]
            seeds, total = sum(1 for other in peers.values() if other == 0), len(peers)
        asked = int(args.get("numwant", "-1"))
        asked = self._numwant if asked < 0 else min(asked, self._numwant)
        chosen = random.sample(pool, min(len(pool), asked))
        compact = b"".join(bytes(map(int, ip.split("."))) + struct.pack("!H", port) for ip, port in chosen)
        answer = {
            b"interval": self._interval,
            b"min interval": self._interval,
            b"complete": seeds,
            b"incomplete": total - seeds,
            b"peers": compact,
        }
        return bencode(answer), len(chosen)


def main(address: str, port: int, numwant: int, interval: int) -> None:
    swarms = Swarms(numwant, interval)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.urlsplit(self.path).query
            args = {key: value for key, _, value in (pair.partition("=") for pair in query.split("&"))}
            body, gave = swarms.announce(self.client_address[0], args)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            print(f"{time.time():.3f} {self.client_address[0]} left={args.get('left')} gave={gave}", flush=True)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024
        daemon_threads = True

    server = Server((address, port), Handler)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
