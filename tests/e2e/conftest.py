"""Fixtures of the end-to-end tests: a world per test module, images and a registry's storage for all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.images import Image, make_image
from e2e.nodes import missing_means
from e2e.runtimes import lacking, scratch
from e2e.world import World, push

_means: str | None = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def means() -> None:
    """Namespaces can be made here, or everything of this folder is skipped."""
    reason = missing_means()
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def tools(request: pytest.FixtureRequest) -> None:
    """`@pytest.mark.needs("podman", …)`: skipped where one of these programs is not installed."""
    for marker in request.node.iter_markers("needs"):
        missing = lacking(*marker.args)
        if missing:
            pytest.skip(f"not installed: {missing} (make e2e-packages)")


@pytest.fixture(scope="module")
def world(means: None) -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def authority(world: World) -> Authority:
    """Whose certificates the module's servers have; nodes trust it only where they are told to."""
    return Authority(world.base / "authority")


@pytest.fixture(scope="session")
def folder(means: None) -> Iterator[Path]:
    """For this run's images and the registries' storage."""
    # `podman pull oci:FOLDER` makes a reference of the path: hexadecimal, since "_" must not end a part of one.
    made = Path(scratch(), f"dfe2e-images-{secrets.token_hex(4)}")
    made.mkdir()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


MB = 1_000_000


@pytest.fixture(scope="session")
def images(folder: Path) -> dict[str, Image]:
    """`app`: four layers, 24 MB; others of other shapes. All are in the `storage`."""
    return {
        "app": make_image(folder / "app", "team/app", [14 * MB, 8 * MB, 1_500_000, 20_000]),
        "tool": make_image(folder / "tool", "team/tool", [5 * MB, 300_000]),
        "secret": make_image(folder / "secret", "private/secret", [4 * MB, 100_000]),
    }


@pytest.fixture(scope="session")
def storage(folder: Path, images: dict[str, Image]) -> Path:
    """A registry's storage with all images in it; every registry of the run serves this one."""
    place = folder / "storage"
    world = World()
    try:
        registry = world.registry(place)
        for image in images.values():
            push(registry.node, image, registry)
    finally:
        world.close()
    return place


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what the programs on its nodes said last."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, World):
        report.sections.append(("programs on the nodes", world.net.logs()))
