"""`dfget`"""

from __future__ import annotations

import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click
import msgspec

from dragonfly import __version__
from dragonfly.cli.exits import Exit, exit_for
from dragonfly.cli.options import load_from, settings_options
from dragonfly.cli.say import say
from dragonfly.config.schema import DFGET, GetSettings, LogSettings
from dragonfly.core.task import INSECURE, TaskSpec, shown_url
from dragonfly.core.units import parse_duration
from dragonfly.errors import DragonflyError, StoppedError, UsageError

if TYPE_CHECKING:
    from dragonfly.client.client import Client, Wanted
    from dragonfly.peer.report import Result

__all__ = ["command"]

_AT_ONCE = 4
_STDOUT = 1
#: Where standard output is a file, /dev/stdout is a link to it: replaced by a rename, it would be another file.
_STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_RANGE = re.compile(r"(\d+)-(\d*)")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dfget")
@click.argument("url")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="the file to make, a folder to put it in, or - for standard output  [its name in the URL]",
)
@click.option("--digest", default="", metavar="sha256:HEX", help="what the content must be")
@click.option("-H", "--header", "headers", multiple=True, metavar="'K: V'", help="sent to the source")
@click.option("--filter", "filters", multiple=True, metavar="QUERYKEY", help="does not change the content (signatures)")
@click.option("--range", "wanted_range", metavar="A-B", help="only these bytes, B included")
@click.option("-r", "--recursive", is_flag=True, help="all files below URL, into the folder PATH")
@click.option("--timeout", metavar="DURATION", help="give up after so long")
@click.option(
    "--pattern",
    type=click.Choice(["p2p", "seed-peer", "cdn", "source"]),
    default="p2p",
    help="where bytes may come from",
)
@click.option("--no-back-to-source", is_flag=True, help="fail rather than read the source from this node")
@click.option("--cacert", type=click.Path(path_type=Path), metavar="FILE", help="check the source's TLS against it too")
@click.option("-k", "--insecure", is_flag=True, help="do not check the source's certificate")
@click.option("--tag", default="", help="other content under the same URL is another tag")
@click.option("--application", default="", help="named in the supernode's lists")
@click.option("--no-progress", is_flag=True, help="no bar, also on a terminal")
@click.option("--json", "as_json", is_flag=True, help="the result as one JSON object on standard output")
@settings_options(DFGET)
def command(**values: Any) -> int:
    """Download URL through the swarm, verified.

    PATH appears complete or not at all. Ends with 0: done; 1: failed; 2: bad usage; 3: other
    content than --digest says; 4: the source refused; 130: interrupted.
    """
    flags = {name: value for name, value in values.items() if name in _SETTINGS}
    loaded = load_from(DFGET, flags)
    settings, log = loaded.of(GetSettings), loaded.of(LogSettings)
    from dragonfly.client.client import Client
    from dragonfly.telemetry import logs

    logs.setup(log.log_level, log.log_format)
    wanted = _wanted(values, settings)
    client = Client(
        Path(settings.data_dir) if settings.data_dir else None,
        supernodes=settings.supernode,
        seed_time_s=settings.seed_time,
    )
    with _Deadline(values["timeout"], wanted.url):
        try:
            return _all_below(client, wanted, values) if values["recursive"] else _one(client, wanted, values)
        except KeyboardInterrupt:
            say(f"dfget: interrupted, nothing half done is left: {shown_url(wanted.url)}; try again")
            return Exit.INTERRUPTED


_SETTINGS = {"config", "log_level", "log_format", "supernode", "data_dir", "limit_rate", "seed_time"}


def _wanted(values: dict[str, Any], settings: GetSettings) -> Wanted:
    from dragonfly.client.client import Wanted
    from dragonfly.config.address import supernode_address

    for text in settings.supernode:
        supernode_address(text)
    try:
        parts = urlsplit(values["url"])
        _ = parts.port  # ValueError where it is no number
        good = bool(parts.scheme and (parts.netloc or parts.path))
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            "not a URL", subject=repr(shown_url(values["url"])), advice="write http://…, https://… or file://…"
        )
    start, end = _span(values["wanted_range"])
    if values["recursive"] and (values["digest"] or values["wanted_range"]):
        raise UsageError("--digest and --range are about one file", advice="leave them out with --recursive")
    if values["output"] == "-" and (values["recursive"] or values["as_json"]):
        raise UsageError("standard output takes one file and nothing else", advice="leave --recursive and --json out")
    wanted = Wanted(
        url=values["url"],
        digest=values["digest"],
        headers=dict(_header(line) for line in values["headers"]),
        filters=values["filters"],
        tag=values["tag"],
        application=values["application"],
        trust=_trust(values),
        start=start,
        end=end,
        rate=settings.limit_rate,
        pattern="cdn" if values["pattern"] == "seed-peer" else values["pattern"],
        back_to_source=not values["no_back_to_source"],
    )
    wanted.request()
    return wanted


def _span(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 0, None
    form = _RANGE.fullmatch(text.strip())
    if form is None or (form[2] and int(form[2]) < int(form[1])):
        raise UsageError("not a range", subject=repr(text), advice="write FIRST-LAST, or FIRST- for all from there")
    return int(form[1]), int(form[2]) + 1 if form[2] else None


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) or not value.isprintable():
        raise UsageError("not a header", subject=repr(name), advice="write -H 'Name: value'")
    return name.strip(), value.strip()


def _trust(values: dict[str, Any]) -> str:
    if values["insecure"]:
        return INSECURE
    if values["cacert"] is None:
        return ""
    try:
        return str(values["cacert"].read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no PEM text"
        raise UsageError(
            "--cacert can't be read", subject=f"{values['cacert']} ({reason})", advice="check it"
        ) from None


# ---------------------------------------------------------------- downloads


def _one(client: Client, wanted: Wanted, values: dict[str, Any]) -> int:
    path: Path | int = _STDOUT if values["output"] in _STDOUT_NAMES else _target(wanted.url, values["output"])
    shown = Path("-") if isinstance(path, int) else path
    try:
        result = _get(client, wanted, path, values, shown.name)
    except DragonflyError as error:
        _say_failure(error, wanted.url, shown, values)
        return exit_for(error)
    if values["as_json"]:
        _print(_told(result, shown))
    else:
        say(f"dfget: {shown}: {result.line()}")
    return Exit.DONE


def _get(client: Client, wanted: Wanted, path: Path | int, values: dict[str, Any], name: str) -> Result:
    from dragonfly.cli.progress import shown

    with shown(name, not values["no_progress"] and not values["recursive"]) as bar:
        return client.get(wanted, path, moved=bar.moved)


def _all_below(client: Client, wanted: Wanted, values: dict[str, Any]) -> int:
    """Every file below the URL; the first failure's status where not all came."""
    from dragonfly.client.listing import below

    folder = Path(values["output"] or ".")
    statuses: list[int] = []
    lock = threading.Lock()

    def bring(url: str, path: Path) -> None:
        one = msgspec.structs.replace(wanted, url=url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            result = _get(client, one, path, values, path.name)
        except OSError as error:
            statuses.append(Exit.FAILED)
            say(f"dfget: {path}: {error.strerror}")
        except DragonflyError as error:
            if client.given_up:
                return
            statuses.append(exit_for(error))
            with lock:
                _say_failure(error, url, path, values)
        else:
            statuses.append(Exit.DONE)
            with lock:
                if values["as_json"]:
                    _print(_told(result, path))
                else:
                    say(f"dfget: {path}: {result.line()}")

    client.daemon()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            jobs = [
                pool.submit(bring, url, folder / name)
                for url, name in below(wanted.url, dict(wanted.headers), wanted.trust)
            ]
            for job in jobs:
                job.result()
        except BaseException:  # Ctrl-C, --timeout, a folder that can't be listed: the rest is not wanted
            client.give_up()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    bad = [status for status in statuses if status != Exit.DONE]
    if not values["as_json"]:
        say(f"dfget: {len(statuses) - len(bad)} of {len(statuses)} files to {folder}")
    return bad[0] if bad else Exit.DONE


def _target(url: str, output: str | None) -> Path:
    name = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    path = Path(output or name)
    if output is None or path.is_dir() or output.endswith("/"):
        if not name or name in (".", "..") or "/" in name:
            raise UsageError("the URL names no file", subject=TaskSpec(url=url).shown_url, advice="say -o PATH")
        path = path if output is None else path / name
    return path


# ---------------------------------------------------------------- what is told


def _told(result: Result, path: Path) -> dict[str, Any]:
    """--json: everything, zeros too, so that scripts need no defaults."""
    received = {name: getattr(result.received, name) for name in ("source", "seed", "peers", "cache")}
    return {
        "status": "done",
        "path": str(path),
        "url": result.url,
        "task": result.key,
        "length": result.length,
        "digest": result.digest,
        "seconds": round(result.seconds, 6),
        "rate": round(result.rate),
        "bytes_from": received,
        "bound": result.bound,
        "efficiency": round(result.efficiency, 4),
        "fallback": result.fallback,
    }


def _say_failure(error: DragonflyError, url: str, path: Path, values: dict[str, Any]) -> None:
    shown = TaskSpec(url=url).shown_url
    if values["as_json"]:
        told = {"status": "failed", "path": str(path), "url": shown, "exit": int(exit_for(error))}
        _print(told | {"error": error.what, "kind": type(error).__name__, "advice": error.advice})
    text = str(error) if shown in str(error) else f"{error} ({shown})"
    say(f"dfget: {text}")


def _print(told: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(told).decode())


class _Deadline:
    """A SIGALRM at `--timeout`; SIGTERM ends like Ctrl-C, so that nothing half done stays."""

    def __init__(self, text: str | None, url: str) -> None:
        self._seconds = parse_duration(text) if text else 0.0
        self._url = TaskSpec(url=url).shown_url

    def __enter__(self) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if self._seconds:
            signal.signal(signal.SIGALRM, self._late)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _late(self, number: int, frame: FrameType | None) -> None:
        raise StoppedError(f"not done after {self._seconds:g} s", subject=self._url, advice="raise --timeout")

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
