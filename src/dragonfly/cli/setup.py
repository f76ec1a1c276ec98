"""`dragonfly setup`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dragonfly.errors import UsageError

if TYPE_CHECKING:
    from dragonfly.daemon.runtimes.host import Host
    from dragonfly.daemon.runtimes.plan import Plan
    from dragonfly.daemon.runtimes.wanted import Wanted

__all__ = ["command"]

_RUNTIMES = ("docker", "containerd", "podman", "crio")


@click.command("setup")
@click.argument("runtime", type=click.Choice(_RUNTIMES))
@click.option(
    "--registry", "registries", multiple=True, metavar="HOST",
    help="is mirrored by the daemon, http://HOST where it has no TLS; may be repeated",
)  # fmt: skip
@click.option(
    "--domain", "domains", multiple=True, metavar="DOMAIN[=REGISTRY]",
    help="P2P domain that leads to this machine, and the registry that dfdaemon --map has behind it",
)  # fmt: skip
@click.option("--daemon", default="127.0.0.1:65001", metavar="HOST:PORT", help="where it listens  [127.0.0.1:65001]")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="the daemon's: its CA, and our record")
@click.option(
    "--root", type=click.Path(path_type=Path), default=Path("/"), metavar="DIR", help="of the host's file system"
)
@click.option("--dry-run", is_flag=True, help="show what would change, and change nothing")
@click.option("--undo", "back", is_flag=True, help="put back what was there before; --dry-run shows it")
@click.option("--force", is_flag=True, help="--undo also where files were changed since")
def command(
    runtime: str,
    registries: tuple[str, ...],
    domains: tuple[str, ...],
    daemon: str,
    data_dir: Path | None,
    root: Path,
    dry_run: bool,
    back: bool,
    force: bool,
) -> None:
    """Let RUNTIME pull through this node's daemon.

    Without options: Docker Hub for docker and podman, all registries for containerd. Can be
    called again at any time: it only changes what is not so yet.
    """
    from dragonfly.boot.host import default_data_dir
    from dragonfly.daemon.runtimes.choice import RUNTIMES
    from dragonfly.daemon.runtimes.host import Host
    from dragonfly.daemon.runtimes.plan import apply, diff
    from dragonfly.daemon.runtimes.record import Record
    from dragonfly.daemon.runtimes.wanted import Wanted, parse_domain, registry_host

    data = data_dir or default_data_dir("dfdaemon")
    host, records = Host(root), data / "setup"
    if back:
        _undo(host, runtime, records, dry_run=dry_run, force=force)
        return
    named = dict(parse_domain(text) for text in domains)
    wanted = Wanted(
        registries=tuple(dict.fromkeys(registry_host(text) for text in registries)),
        domains=named,
        plain=frozenset(_plain(registries, domains)),
        daemon=_address(daemon),
        former=tuple(Record.load(records, runtime).daemons),
        ca=_ca(data, dry_run) if named else "",
    )
    plan = RUNTIMES[runtime].plan(host, wanted)
    if dry_run:
        click.echo(diff(plan.needed), nl=False)
    else:
        apply(host, plan, records)
    _tell(plan, dry_run, wanted)


def _undo(host: Host, runtime: str, records: Path, *, dry_run: bool, force: bool) -> None:
    from dragonfly.daemon.runtimes.choice import RUNTIMES
    from dragonfly.daemon.runtimes.plan import diff
    from dragonfly.daemon.runtimes.undo import plan_undo, undo

    if dry_run:
        click.echo(diff(plan_undo(host, runtime, records, force=force)), nl=False)
        return
    changes = undo(host, runtime, records, force=force)
    if changes is None:
        click.echo(f"{runtime} was not set up from {records.parent}")
        return
    for change in changes:
        click.echo(f"{'removed' if change.after is None else 'put back'} {change.path}")
    if changes:
        restart = RUNTIMES[runtime].restart([change.path for change in changes])
        click.echo(restart or f"no restart: {runtime} reads it at the next pull", err=True)


def _ca(data: Path, dry_run: bool) -> str:
    """The daemon's CA, made now where it has none yet; only read by --dry-run."""
    from dragonfly.daemon.ca import CertificateAuthority

    if dry_run and not (data / "ca" / "ca.crt").exists():
        return "(the CA that the daemon will have)\n"
    try:
        return CertificateAuthority(data / "ca").pem
    except OSError as error:
        raise UsageError(
            "the daemon's CA can't be made or read", subject=str(data / "ca"), advice=error.strerror or "use sudo"
        ) from None


def _plain(registries: tuple[str, ...], domains: tuple[str, ...]) -> list[str]:
    """Registries that were written with http:// before them."""
    from dragonfly.daemon.runtimes.wanted import registry_host

    urls = (*registries, *(text.partition("=")[2] for text in domains))
    return [registry_host(url) for url in urls if url.strip().startswith("http://")]


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError("not an address", subject=repr(text), advice="write HOST:PORT")
    return text


def _tell(plan: Plan, dry_run: bool, wanted: Wanted) -> None:
    if not plan.needed:
        click.echo(f"{plan.runtime}: nothing to change", err=True)
    elif not dry_run:
        for change in plan.needed:
            click.echo(f"{'changed' if change.before is not None else 'wrote'} {change.path}", err=True)
    if plan.needed:
        click.echo(plan.restart or f"no restart: {plan.runtime} reads it at the next pull", err=True)
    for domain, registry in wanted.domains.items():
        if registry:
            click.echo(f"dfdaemon needs: --map {domain.partition(':')[0]}={wanted.url(registry)}", err=True)
    for note in plan.notes:
        click.echo(note, err=True)
