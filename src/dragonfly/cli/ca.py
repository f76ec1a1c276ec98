"""`dragonfly ca`"""

from __future__ import annotations

from pathlib import Path

import click

from dragonfly.errors import UsageError

__all__ = ["command"]


@click.command("ca")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="of the node's daemon")
@click.option("--path", "only_path", is_flag=True, help="print where the file is instead")
def command(data_dir: Path | None, only_path: bool) -> None:
    """Print the CA certificate of this node's daemon: what clients of the P2P domain must trust."""
    from dragonfly.boot.host import default_data_dir

    file = (data_dir or default_data_dir("dfdaemon")) / "ca" / "ca.crt"
    if only_path:
        click.echo(file)
        return
    try:
        click.echo(file.read_text(encoding="ascii"), nl=False)
    except OSError as error:
        raise UsageError(
            "no CA certificate",
            subject=str(file),
            advice=f"{error.strerror}; start dfdaemon once, or name its --data-dir",
        ) from None
