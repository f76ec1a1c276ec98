"""Setting runtimes up and taking it back, on the files of a host below a temporary root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragonfly.daemon.runtimes import containerd, containers, docker
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import Change, Plan, apply, diff
from dragonfly.daemon.runtimes.undo import undo
from dragonfly.daemon.runtimes.wanted import Wanted, hosts_file, parse_domain, registry_host
from dragonfly.errors import UsageError
from unit.daemon.runtimes.conftest import put

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DOMAIN = Wanted(domains={"images.p2p": "registry.example.com"}, ca=CA)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


ALL = {
    "docker": (docker.plan, DOMAIN),
    "docker mirror": (docker.plan, Wanted()),
    "containerd": (containerd.plan, Wanted()),
    "podman": (containers.plan_podman, DOMAIN),
    "crio": (containers.plan_crio, Wanted(registries=("quay.example.com",))),
}


@pytest.mark.parametrize("name", ALL)
def test_a_second_setup_finds_nothing_to_change_and_undo_leaves_no_trace(host: Host, records: Path, name: str) -> None:
    make, wanted = ALL[name]
    before = files(host.root)
    plan = make(host, wanted)
    assert plan.needed
    assert diff(plan.needed)
    apply(host, plan, records)
    again = make(host, wanted)
    assert not again.needed
    assert not again.restart
    assert undo(host, plan.runtime, records)
    assert files(host.root) == before
    assert undo(host, plan.runtime, records) is None


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tree=st.dictionaries(st.text(), trees), mirrors=st.lists(st.text()))
def test_any_daemon_json_keeps_what_it_has_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object], mirrors: list[str]
) -> None:
    home = tmp_path_factory.mktemp("host")
    host = Host(home / "root")
    text = json.dumps(tree | {"registry-mirrors": mirrors})
    put(host, "/etc/docker/daemon.json", text)
    apply(host, docker.plan(host, Wanted()), home / "setup")
    after = json.loads(host.path("/etc/docker/daemon.json").read_text())
    assert after["registry-mirrors"] == ["http://127.0.0.1:65001", *mirrors]
    assert {k: v for k, v in after.items() if k != "registry-mirrors"} == {
        k: v for k, v in json.loads(text).items() if k != "registry-mirrors"
    }
    undo(host, "docker", home / "setup")
    assert host.path("/etc/docker/daemon.json").read_text() == text


def test_a_broken_daemon_json_is_refused_with_its_line(host: Host) -> None:
    put(host, "/etc/docker/daemon.json", '{\n  "debug": true,\n}\n')
    with pytest.raises(UsageError, match="line 3"):
        docker.plan(host, Wanted())


def test_docker_can_only_mirror_the_hub(host: Host) -> None:
    with pytest.raises(UsageError, match=r"--domain quay\.example\.com\.p2p=quay\.example\.com"):
        docker.plan(host, Wanted(registries=("quay.example.com",)))


def test_mode_owner_and_links_stay(host: Host, records: Path) -> None:
    put(host, "/opt/real.json", "{}")
    host.path("/opt/real.json").chmod(0o600)
    (host.root / "etc/docker").mkdir()
    (host.root / "etc/docker/daemon.json").symlink_to("/opt/real.json")
    apply(host, docker.plan(host, Wanted()), records)
    assert (host.root / "etc/docker/daemon.json").is_symlink()
    assert (host.root / "opt/real.json").stat().st_mode & 0o777 == 0o600
    assert "registry-mirrors" in (host.root / "opt/real.json").read_text()


def test_what_somebody_else_changed_is_not_put_back_silently(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, Wanted()), records)
    put(host, "/etc/docker/daemon.json", '{"debug": true}')
    with pytest.raises(UsageError, match="--force"):
        undo(host, "docker", records)
    assert host.text("/etc/docker/daemon.json") == '{"debug": true}'
    undo(host, "docker", records, force=True)
    assert host.text("/etc/docker/daemon.json") is None


def test_an_edit_between_two_setups_is_not_lost_silently(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, Wanted()), records)
    put(host, "/etc/docker/daemon.json", '{"debug": true}')
    apply(host, docker.plan(host, Wanted()), records)
    with pytest.raises(UsageError, match=r"daemon\.json"):
        undo(host, "docker", records)
    assert "debug" in (host.text("/etc/docker/daemon.json") or "")


def test_the_backup_is_for_its_owner_only(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, Wanted()), records)
    assert (records / "docker.json").stat().st_mode & 0o777 == 0o600


def test_undo_goes_back_behind_several_setups(host: Host, records: Path) -> None:
    before = files(host.root)
    apply(host, containerd.plan(host, Wanted(registries=("one.example.com",))), records)
    apply(host, containerd.plan(host, Wanted(registries=("two.example.com",))), records)
    undo(host, "containerd", records)
    assert files(host.root) == before


def test_a_crash_between_record_and_files_can_be_undone(host: Host, records: Path) -> None:
    plan = Plan(runtime="docker", changes=(Change("/etc/a", None, b"a"), Change("/etc/b", None, b"b")))
    apply(host, plan, records)
    host.path("/etc/b").unlink()  # as if the machine had died before the second file
    undo(host, "docker", records)
    assert not host.path("/etc/a").exists()


def test_a_hosts_file_names_a_domain_once() -> None:
    once = hosts_file("127.0.0.1 localhost", ["images.p2p"])
    assert once == "127.0.0.1 localhost\n127.0.0.1 images.p2p # dragonfly\n"
    assert hosts_file(once, ["images.p2p"]) == once
    assert hosts_file("# images.p2p\n", ["images.p2p"]) == "# images.p2p\n127.0.0.1 images.p2p # dragonfly\n"


@pytest.mark.parametrize("text", ["", "a b", "http://", "x/y", "-x", 'q"', "a:b"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        registry_host(text)


def test_names_of_registries() -> None:
    assert registry_host("https://index.docker.io/") == "docker.io"
    assert parse_domain("images.p2p=https://r.example.com:5000") == ("images.p2p", "r.example.com:5000")


def test_a_setup_that_fails_in_the_middle_changes_nothing(host: Host, records: Path) -> None:
    put(host, "/etc/blocked", "a file")
    before = files(host.root)
    changes = (
        Change("/etc/hosts", host.read("/etc/hosts"), b"x"), Change("/etc/new/f/g", None, b"x"),
        Change("/etc/blocked/x", None, b"x"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="can't be written"):
        apply(host, Plan(runtime="docker", changes=changes), records)
    assert files(host.root) == before
    assert not host.path("/etc/new/f").exists()


@pytest.mark.parametrize("text", ["[1]", '{"registry-mirrors": "x"}', "[" * 100_000, "// ours\n{}"])
def test_a_daemon_json_that_dockerd_would_refuse_is_refused(host: Host, text: str) -> None:
    put(host, "/etc/docker/daemon.json", text)
    with pytest.raises(UsageError, match=r"daemon\.json"):
        docker.plan(host, Wanted())


@pytest.mark.parametrize("file", ["/etc/systemd/system/docker.service.d/x.conf", "/etc/default/docker"])
def test_a_mirror_on_dockerds_command_line_is_not_doubled(host: Host, file: str) -> None:
    put(host, file, "# --registry-mirror=https://old\n")
    assert docker.plan(host, Wanted()).needed
    put(host, file, "ExecStart=/usr/bin/dockerd --registry-mirror=https://near.corp\n")
    with pytest.raises(UsageError, match="would not start"):
        docker.plan(host, Wanted())


def test_dockers_mirror_follows_a_daemon_that_moved(host: Host, records: Path) -> None:
    put(host, "/etc/docker/daemon.json", '{"registry-mirrors": ["https://near.corp"]}')
    apply(host, docker.plan(host, Wanted()), records)
    moved = Wanted(daemon="127.0.0.1:7001", former=("127.0.0.1:65001",))
    apply(host, docker.plan(host, moved), records)
    tree = json.loads(host.text("/etc/docker/daemon.json") or "")
    assert tree["registry-mirrors"] == ["http://127.0.0.1:7001", "https://near.corp"]
    assert not docker.plan(host, moved).needed
