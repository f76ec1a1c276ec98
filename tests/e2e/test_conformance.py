"""The OCI distribution specification's conformance suite, through the daemon and straight at the registry.

Built from its Go module where Go is at hand. What the registry itself fails at (docker-registry 2.8 is
older than referrers, for instance) says nothing about us: through the daemon nothing else may fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from e2e.nodes import Node
from e2e.world import MIRROR, World

pytestmark = [pytest.mark.needs("docker-registry"), pytest.mark.timeout(300)]

MODULE = "github.com/opencontainers/distribution-spec/conformance"
VERSION = "v0.0.0-20260831232431-97274622c111"


@pytest.fixture(scope="module")
def suite(world: World) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go to build the conformance suite with")
    program = world.base / "bin" / "conformance"
    program.parent.mkdir()
    # GOBIN with a version: built outside of any module, checked against the public checksums.
    done = subprocess.run(
        [go, "install", f"{MODULE}@{VERSION}"],
        env=os.environ | {"GOBIN": str(program.parent), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    if done.returncode != 0:
        pytest.skip(f"the conformance suite can't be built here: {done.stderr.strip()[-300:]}")
    return program


def test_the_daemon_answers_as_the_registry_does(world: World, suite: Path) -> None:
    registry = world.registry(world.base / "storage")
    (node,) = world.nodes(1)
    world.daemons([node], world.supernode(), "--registry", registry.url)
    straight = run_suite(node, suite, registry.host, "straight")
    through = run_suite(node, suite, f"127.0.0.1:{MIRROR}", "through")
    assert len(straight) > 50, "the suite did not run"
    passed = {name for name, outcome in straight.items() if outcome == "passed"}
    worse = {name: through.get(name, "not run") for name in passed if through.get(name) != "passed"}
    assert worse == {}


def run_suite(node: Node, suite: Path, host: str, name: str) -> dict[str, str]:
    """Outcome of each test case: passed, failed, skipped."""
    results = node.home / f"conformance-{name}"
    done = node.run(
        suite, check=False, timeout=150,
        env={
            "OCI_REGISTRY": host, "OCI_TLS": "disabled", "OCI_RESULTS_DIR": str(results),
            "OCI_REPO1": f"conformance/{name}1", "OCI_REPO2": f"conformance/{name}2",
            "OCI_CONFIGURATION": "/dev/null", "OCI_LOG": "error",
        },
    )  # fmt: skip
    report = results / "junit.xml"
    assert report.exists(), (done.stdout[-2000:], done.stderr[-2000:])
    outcomes: dict[str, str] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes[f"{case.get('classname', '')}/{case.get('name', '')}"] = outcome
    return outcomes
