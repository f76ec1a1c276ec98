"""One libtorrent process: `bt_peer.py seed|leech TORRENT FOLDER READY DONE OPTIONS_JSON`.

A leech announces itself ready, waits for a line, fetches, leaves its mark and serves on.
Runs under an interpreter that has libtorrent (Debian's python3-libtorrent); standard
library otherwise.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

#: Settings of every process; options "lt.<name>" override them. TCP and plain text only,
#: no choking (it costs here: there are no free riders), tracker only.
SETTINGS: dict[str, Any] = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_outgoing_utp": False, "enable_incoming_utp": False, "anonymous_mode": False,
    "out_enc_policy": 2, "in_enc_policy": 2,
    "listen_interfaces": "0.0.0.0:6881", "alert_mask": 0x41,  # errors and status
    "allow_multiple_connections_per_ip": False, "announce_to_all_trackers": False,
    "connections_limit": 400, "connection_speed": 200, "torrent_connect_boost": 50,
    "smooth_connects": False, "peer_turnover_interval": 300, "min_reconnect_time": 5,
    "unchoke_slots_limit": -1, "unchoke_interval": 5, "optimistic_unchoke_interval": 10,
    "aio_threads": 1, "hashing_threads": 1, "min_announce_interval": 5, "tracker_backoff": 50,
}  # fmt: skip


def typed(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        return text


def main(mode: str, torrent: str, folder: str, ready: str, done: str, options: str) -> None:
    import libtorrent as lt  # type: ignore[import-not-found]

    settings = SETTINGS | {key[3:]: typed(value) for key, value in json.loads(options).items()}
    session = lt.session(settings)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
    if mode == "seed":
        params.flags |= lt.torrent_flags.seed_mode
    else:
        Path(ready).touch()
        sys.stdin.readline()
    handle = session.add_torrent(params)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    flushing = False
    while True:
        session.wait_for_alert(500)
        for alert in session.pop_alerts():
            kind = type(alert).__name__
            if mode == "leech" and kind == "torrent_finished_alert" and not flushing:
                flushing = True
                handle.flush_cache()
            elif mode == "leech" and kind == "cache_flushed_alert" and flushing:
                Path(done).touch()
            elif "error" in kind:
                print(kind, alert.message(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:7])
