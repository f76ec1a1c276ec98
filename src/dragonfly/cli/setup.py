"""`dragonfly setup`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dragonfly.errors import UsageError

if TYPE_CHECKING:
    from dragonfly.daemon.runtimes.plan import Plan

__all__ = ["command"]

_RUNTIMES = ("docker", "containerd", "podman", "crio")


@click.command("setup")
@click.argument("runtime", type=click.Choice(_RUNTIMES))
@click.option(
    "--registry", "registries", multiple=True, metavar="HOST", help="is mirrored by the daemon; may be repeated"
)
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
@click.option("--undo", "back", is_flag=True, help="put back what was there before")
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
    from dragonfly.daemon.ca import CertificateAuthority
    from dragonfly.daemon.runtimes import containerd, containers, docker
    from dragonfly.daemon.runtimes.plan import Host, apply, diff, undo
    from dragonfly.daemon.runtimes.wanted import Wanted, parse_domain, registry_host

    data = data_dir or default_data_dir("dfdaemon")
    host, records = Host(root), data / "setup"
    if back and dry_run:
        raise UsageError("--dry-run and --undo don't go together", advice="leave one of them out")
    if back:
        paths = undo(host, runtime, records, force=force)
        click.echo("\n".join(f"put back {path}" for path in paths) or f"{runtime} was not set up from {data}")
        return
    named = dict(parse_domain(text) for text in domains)
    if named and not dry_run:
        data.mkdir(parents=True, exist_ok=True)
    wanted = Wanted(
        registries=tuple(registry_host(text) for text in registries),
        domains=named,
        daemon=_address(daemon),
        ca=_ca(data, CertificateAuthority, dry_run) if named else "",
    )
    makers = {"docker": docker.plan, "containerd": containerd.plan, "podman": containers.plan_podman}
    plan = makers.get(runtime, containers.plan_crio)(host, wanted)
    if dry_run:
        click.echo(diff(plan), nl=False)
    else:
        apply(host, plan, records)
    _tell(plan, dry_run, wanted.domains)


def _ca(data: Path, kind: type, dry_run: bool) -> str:
    """The daemon's CA, made now where it has none yet; only read by --dry-run."""
    if dry_run and not (data / "ca" / "ca.crt").exists():
        return "(the CA that the daemon will have)\n"
    return str(kind(data / "ca").pem)


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise UsageError("not an address", subject=repr(text), advice="write HOST:PORT")
    return text


def _tell(plan: Plan, dry_run: bool, domains: dict[str, str]) -> None:
    if not plan.needed:
        click.echo(f"{plan.runtime}: nothing to change", err=True)
    elif not dry_run:
        for change in plan.needed:
            click.echo(f"{'changed' if change.before is not None else 'wrote'} {change.path}", err=True)
    if plan.needed:
        click.echo(plan.restart or f"no restart: {plan.runtime} reads it at the next pull", err=True)
    for domain, registry in domains.items():
        if registry:
            click.echo(f"dfdaemon needs: --map {domain.partition(':')[0]}=https://{registry}", err=True)
    for note in plan.notes:
        click.echo(note, err=True)
