"""`dragonfly preheat`"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

import click
import msgspec

from dragonfly.config.address import supernode_address
from dragonfly.core.units import format_size
from dragonfly.errors import DragonflyError, UsageError

__all__ = ["command"]

_LOOK_S = 0.5


@click.command("preheat")
@click.argument("url")
@click.option("--supernode", required=True, envvar="DRAGONFLY_SUPERNODE", metavar="HOST[:8002]", help="who does it")
@click.option("--type", "kind", type=click.Choice(["image", "file"]), help="[image for a reference or …/manifests/…]")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="of an image; may be repeated  [all]")
@click.option("--scope", default="seed", metavar="seed|all|N", help="the seed only, all nodes, or N of them  [seed]")
@click.option("-H", "--header", "headers", multiple=True, metavar="'K: V'", help="credentials, for instance")
@click.option("--digest", default="", metavar="sha256:HEX", help="of a file")
@click.option(
    "--token",
    default="",
    envvar="DRAGONFLY_API_TOKEN",
    metavar="TOKEN",
    help="the supernode's api_token, if it has one",
)
@click.option("--wait/--no-wait", default=True, help="until it is done  [wait]")
def command(url: str, supernode: str, kind: str | None, scope: str, wait: bool, token: str, **rest: Any) -> None:
    """Fetch a file or an image beforehand, so that its first pull is as fast as any.

    URL is a file's, an image's manifest URL (https://REGISTRY/v2/NAME/manifests/TAG) or its reference
    (REGISTRY/NAME:TAG).
    """
    if scope not in ("seed", "all") and not scope.isdecimal():
        raise UsageError("not a scope", subject=repr(scope), advice="write seed, all or a number of nodes")
    asked = {
        "type": kind or ("image" if "://" not in url or "/manifests/" in url else "file"),
        "url": url,
        "headers": dict(_header(line) for line in rest["headers"]),
        "platforms": list(rest["platforms"]),
        "scope": int(scope) if scope.isdecimal() else scope,
        "digest": rest["digest"],
    }
    base = f"{supernode_address(supernode).url}/api/v1/preheats"
    job = _ask(base, token, asked)
    if not wait:
        click.echo(job["id"])
        return
    while job["status"] in ("WAITING", "RUNNING"):
        time.sleep(_LOOK_S)
        job = _ask(f"{base}/{job['id']}", token)
    if job["status"] == "FAILED":
        raise DragonflyError("the preheat failed", subject=url, advice=job.get("error") or "see the supernode's log")
    nodes = f", on {job['nodes_done']} nodes" if job.get("nodes_done") else ""
    click.echo(f"{url}: {job.get('blobs_done', 0)} blobs, {format_size(job.get('bytes', 0))}{nodes}")


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise UsageError("not a header", subject=repr(name), advice="write -H 'Name: value'")
    return name.strip(), value.strip()


def _ask(url: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, method="GET" if body is None else "POST")
    if body is not None:
        request.data = msgspec.json.encode(body)
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read(), type=dict)
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        try:
            detail = str(msgspec.json.decode(text, type=dict).get("detail", text))
        except msgspec.DecodeError:
            detail = text
        raise UsageError(f"the supernode answered {error.code}", subject=url, advice=detail.strip()) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise DragonflyError(
            "the supernode can't be asked",
            subject=f"{url} ({getattr(reason, 'strerror', None) or reason})",
            advice="check --supernode, and that it runs",
        ) from None
    return found
