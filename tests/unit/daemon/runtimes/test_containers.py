"""The drop-in for registries.conf, beside what others wrote there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dragonfly.daemon.runtimes import containers
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import apply
from dragonfly.daemon.runtimes.wanted import Wanted
from dragonfly.errors import UsageError
from unit.daemon.runtimes.conftest import put


def test_podman_gets_a_mirror_by_domain_or_by_port(host: Host) -> None:
    wanted = Wanted(registries=("quay.example.com",), domains={"images.p2p": "r.example.com"}, ca="CA\n")
    plan = containers.plan_podman(host, wanted)
    text = next(change.after for change in plan.changes if change.path.endswith(".conf"))
    assert text is not None
    tables = {t["prefix"]: t["mirror"][0] for t in tomllib.loads(text.decode())["registry"]}
    assert tables["r.example.com"] == {"location": "images.p2p"}
    assert tables["quay.example.com"] == {"location": "127.0.0.1:65001", "insecure": True}


MAIN = "/etc/containers/registries.conf"
DROP_INS = "/etc/containers/registries.conf.d"


def tables(host: Host, records: Path, wanted: Wanted) -> dict[str, dict[str, object]]:
    apply(host, containers.plan_podman(host, wanted), records)
    text = host.text(f"{DROP_INS}/50-dragonfly.conf") or ""
    return {table["prefix"]: table for table in tomllib.loads(text)["registry"]}


def test_what_the_main_file_says_of_a_registry_goes_on_to_hold(host: Host, records: Path) -> None:
    put(
        host,
        MAIN,
        '[[registry]]\nlocation = "r.example.com"\nblocked = true\n'
        '[[registry]]\nprefix = "docker.io"\nlocation = "harbor.corp/hub"\ninsecure = true\n'
        '[[registry.mirror]]\nlocation = "near.corp"\npull-from-mirror = "digest-only"\n',
    )
    found = tables(host, records, Wanted(registries=("docker.io", "r.example.com")))
    ours = {"location": "127.0.0.1:65001", "insecure": True}
    assert found["docker.io"] == {
        "prefix": "docker.io", "location": "harbor.corp/hub", "insecure": True,
        "mirror": [ours, {"location": "near.corp", "pull-from-mirror": "digest-only"}],
    }  # fmt: skip
    assert found["r.example.com"]["blocked"] is True


def test_a_registry_without_tls_is_fallen_back_to_as_such(host: Host, records: Path) -> None:
    wanted = Wanted(registries=("r:5000",), plain=frozenset({"r:5000"}))
    assert tables(host, records, wanted)["r:5000"]["insecure"] is True
    assert (
        "dfdaemon must know which registry is meant: --registry http://r:5000"
        in containers.plan_podman(host, wanted).notes
    )


@pytest.mark.parametrize(
    "text", ["registry = 3\n", "[registry]\nx = 1\n", '[registries.search]\nregistries = ["docker.io"]\n', "["]
)
def test_a_registries_conf_that_podman_could_not_read_with_ours_is_refused(host: Host, text: str) -> None:
    put(host, MAIN, text)
    with pytest.raises(UsageError, match=r"registries\.conf"):
        containers.plan_podman(host, Wanted())


def test_a_drop_in_that_is_read_after_ours_is_named(host: Host) -> None:
    for name in ("10-early", "99-late"):
        put(host, f"{DROP_INS}/{name}.conf", '[[registry]]\nlocation = "docker.io"\n')
    notes = containers.plan_podman(host, Wanted()).notes
    assert [note for note in notes if "99-late" in note]
    assert not [note for note in notes if "10-early" in note]
