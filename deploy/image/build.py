"""The product's OCI image made of what is on this machine: no network, no base image, no container engine.

    .venv/bin/python deploy/image/build.py dist/image

writes an OCI layout with the tag of the version: one layer of Python, its libraries and the product's
dependencies, and a small one of the product itself, so that an upgrade moves the small one only. Needs
umoci. What goes in is what the interpreter that runs this has installed; the image's system is the machine's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PRODUCT = "dragonfly-p2p"
EXTRAS = {"redis"}
HOME = Path("/opt/dragonfly")
#: Parts of Python that no server needs.
LEFT_OUT = (
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "config-*",
    "*.a",
)
SYSTEM_FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\ndragonfly:x:65532:65532::/data:/sbin/nologin\n",
    "/etc/group": "root:x:0:\ndragonfly:x:65532:\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the product's image as an OCI layout.")
    parser.add_argument("layout", type=Path, help="folder that is made anew")
    layout: Path = parser.parse_args().layout
    version = importlib.metadata.version(PRODUCT)
    with tempfile.TemporaryDirectory() as scratch:
        system, product = Path(scratch, "system"), Path(scratch, "product")
        make_system(system)
        make_product(product)
        write_layout(layout, version, system, product)
    print(f"{layout}:{version}")


# ---------------------------------------------------------------- what goes in


def make_system(root: Path) -> None:
    """Interpreter, standard library, dependencies, shared libraries, and the few files of a system."""
    interpreter = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    lib = root / HOME.relative_to("/") / "lib" / stdlib.name
    copy_tree(stdlib, lib, (*LEFT_OUT, "site-packages", "dist-packages"))
    program = root / HOME.relative_to("/") / "bin" / "python3"
    program.parent.mkdir(parents=True)
    shutil.copy2(interpreter, program)
    for name in closure(PRODUCT, EXTRAS) - {PRODUCT}:
        copy_distribution(name, lib / "site-packages")
    for library in shared_libraries([program, *lib.rglob("*.so"), *lib.rglob("*.so.*")]):
        if root not in library.parents:  # else a wheel brought it
            put(library, root)
    for path, text in SYSTEM_FILES.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    if CERTIFICATES.exists():
        put(CERTIFICATES, root)
    for folder, mode in (("tmp", 0o1777), ("data", 0o777)):
        (root / folder).mkdir()
        (root / folder).chmod(mode)


def make_product(root: Path) -> None:
    """The package, its metadata (entry points are found by it) and the command."""
    packages = root / HOME.relative_to("/") / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    copy_tree(PROJECT / "src" / "dragonfly", packages / "dragonfly", LEFT_OUT)
    metadata = importlib.metadata.distribution(PRODUCT)
    target = packages / f"dragonfly_p2p-{metadata.version}.dist-info"
    target.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (target / name).write_text(metadata.read_text(name) or "")
    command = root / HOME.relative_to("/") / "bin" / "dragonfly"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!{HOME}/bin/python3\nfrom dragonfly.cli.main import dragonfly\n\ndragonfly()\n")
    command.chmod(0o755)


def closure(name: str, extras: Iterable[str]) -> set[str]:
    """The distribution and all that it needs, of which this environment has the right ones."""
    found, todo = set[str](), [(name, frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement, _, marker = line.partition(";")
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
            needed = re.match(r"[A-Za-z0-9._-]+", requirement)
            if needed is None or (extra and extra[1] not in wanted):
                continue
            child = re.sub(r"[-_.]+", "-", needed[0]).lower()
            # One whose marker does not hold here is not installed here.
            if child not in found and installed(child):
                todo.append((child, frozenset()))
    return found


def installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def shared_libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """Those that the dynamic linker would load for them, and the linker itself."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    found = {line.split(" (0x")[0].rpartition("=>")[2].strip() for line in listed.splitlines() if " (0x" in line}
    return (Path(each) for each in sorted(found) if each.startswith("/"))


# ---------------------------------------------------------------- copying


def copy_tree(source: Path, target: Path, left_out: Iterable[str]) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True)


def copy_distribution(name: str, packages: Path) -> None:
    """Its files below site-packages; commands in bin are not needed."""
    for file in importlib.metadata.files(name) or ():
        if file.parts[0] == "..":
            continue
        source = Path(str(file.locate()))
        if source.is_file():
            (packages / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, packages / file)


def put(file: Path, root: Path) -> None:
    """A copy at the path by which it is looked for, also where that is a link."""
    target = root / str(file).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target)


# ---------------------------------------------------------------- the layout


def write_layout(layout: Path, version: str, *layers: Path) -> None:
    shutil.rmtree(layout, ignore_errors=True)
    layout.parent.mkdir(parents=True, exist_ok=True)
    image = f"{layout}:{version}"
    umoci("init", "--layout", layout)
    umoci("new", "--image", image)
    for layer in layers:
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                archive.add(layer, "/", filter=plain)
            file.flush()
            umoci("raw", "add-layer", "--image", image, file.name)
    packages = f"{HOME}/lib/python{sysconfig.get_python_version()}/site-packages"
    umoci(
        "config", "--image", image, "--config.user", "65532:65532", "--config.workingdir", "/data",
        "--config.env", f"PATH={HOME}/bin", "--config.env", f"SSL_CERT_FILE={CERTIFICATES}",
        # Distributions' own Pythons do not look into site-packages by themselves.
        "--config.env", f"PYTHONPATH={packages}",
        "--config.entrypoint", f"{HOME}/bin/dragonfly", "--config.label", f"org.opencontainers.image.version={version}",
    )  # fmt: skip
    umoci("gc", "--layout", layout)


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Root's; the time stays, by which compiled files are known to be current."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def umoci(*args: str | Path) -> None:
    done = subprocess.run(["umoci", *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"umoci {args[0]}: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
