"""hosts.toml files, and the config_path of a config.toml that others wrote."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dragonfly.daemon.runtimes import containerd
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import apply
from dragonfly.daemon.runtimes.wanted import Wanted
from dragonfly.errors import UsageError
from unit.daemon.runtimes.conftest import put


@pytest.mark.parametrize(
    ("config", "restart"),
    [
        (None, True),
        ("version = 2\n", True),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n', True),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = ""\n', True),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause"\n', True),
        (
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n',
            False,
        ),
        ("version = 3\n", True),
        ("version = 3\n[plugins]\n  [plugins.'io.containerd.cri.v1.images'.registry]\n    config_path = ''\n", True),
        (
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n",
            False,
        ),
    ],
)
def test_containerd_is_restarted_only_where_it_has_no_config_path(
    host: Host, records: Path, config: str | None, restart: bool
) -> None:
    if config is not None:
        put(host, "/etc/containerd/config.toml", config)
    plan = containerd.plan(host, Wanted())
    assert bool(plan.restart) is restart
    apply(host, plan, records)
    if restart:
        tree = tomllib.loads(host.path("/etc/containerd/config.toml").read_text())
        table = "io.containerd.cri.v1.images" if tree["version"] == 3 else "io.containerd.grpc.v1.cri"
        cri = tree["plugins"][table]
        assert cri["registry"]["config_path"] == "/etc/containerd/certs.d"
        assert config is None or "sandbox_image" not in config or cri["sandbox_image"] == "pause"
    hosts = tomllib.loads(host.path("/etc/containerd/certs.d/_default/hosts.toml").read_text())
    assert list(hosts["host"]) == ["http://127.0.0.1:65001"]


@pytest.mark.parametrize(
    "config",
    [
        "[plugins]\n",
        "version = 'x'\n",
        "version = 2\nplugins = 3\n",
        "version = [",
        'version = 3\n[plugins."io.containerd.cri.v1.images".registry.mirrors.x]\nendpoint=["http://x"]\n',
        'version = 2\n[plugins]\n"io.containerd.grpc.v1.cri" = {registry = {}}\n',
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors.x]\nendpoint=["http://x"]\n',
    ],
)
def test_containerd_configurations_that_do_not_go_together_are_refused(host: Host, config: str) -> None:
    put(host, "/etc/containerd/config.toml", config)
    with pytest.raises(UsageError):
        containerd.plan(host, Wanted())


def test_an_own_hosts_toml_keeps_its_hosts_behind_ours(host: Host, records: Path) -> None:
    own = 'server = "https://r.example.com"\n\n[host."https://cache.example.com"]\n  capabilities = ["pull"]\n'
    put(host, "/etc/containerd/certs.d/r.example.com/hosts.toml", own)
    apply(host, containerd.plan(host, Wanted(registries=("r.example.com",))), records)
    tree = tomllib.loads(host.path("/etc/containerd/certs.d/r.example.com/hosts.toml").read_text())
    assert list(tree["host"]) == ["http://127.0.0.1:65001", "https://cache.example.com"]
    assert tree["server"] == "https://r.example.com"


def hosts(host: Host, name: str, folder: str = "/etc/containerd/certs.d") -> dict[str, object]:
    tree: dict[str, object] = tomllib.loads(host.path(f"{folder}/{name}/hosts.toml").read_text())["host"]
    return tree


@pytest.mark.parametrize("header", ['[ host."https://c" ]', '["host"."https://c"]', "[host.'https://c'] # ours"])
def test_ours_comes_first_however_the_others_are_written(host: Host, records: Path, header: str) -> None:
    put(host, "/etc/containerd/certs.d/r.example.com/hosts.toml", f'# kept\n{header}\n  capabilities = ["pull"]\n')
    apply(host, containerd.plan(host, Wanted(registries=("r.example.com",))), records)
    assert list(hosts(host, "r.example.com")) == ["http://127.0.0.1:65001", "https://c"]
    assert (host.text("/etc/containerd/certs.d/r.example.com/hosts.toml") or "").startswith("# kept\n")


def test_a_hosts_toml_that_can_not_be_added_to_is_refused(host: Host) -> None:
    put(host, "/etc/containerd/certs.d/r.example.com/hosts.toml", 'host = {"https://c" = {capabilities = ["pull"]}}\n')
    with pytest.raises(UsageError, match="add by hand"):
        containerd.plan(host, Wanted(registries=("r.example.com",)))


def test_without_a_cri_plugin_config_toml_is_left_alone(host: Host, records: Path) -> None:
    """As in the package that Docker ships."""
    text = '#   Copyright\ndisabled_plugins = ["cri"]\n'
    put(host, "/etc/containerd/config.toml", text)
    plan = containerd.plan(host, Wanted())
    apply(host, plan, records)
    assert not plan.restart
    assert "disabled" in plan.notes[0]
    assert host.text("/etc/containerd/config.toml") == text
    assert hosts(host, "_default")


def test_a_file_that_says_no_version_and_nothing_of_plugins_becomes_version_2(host: Host, records: Path) -> None:
    put(host, "/etc/containerd/config.toml", '# ours\nroot = "/data/containerd"\n[grpc]\n  gid = 7\n')
    apply(host, containerd.plan(host, Wanted()), records)
    tree = tomllib.loads(host.text("/etc/containerd/config.toml") or "")
    assert (tree["version"], tree["root"], tree["grpc"]) == (2, "/data/containerd", {"gid": 7})
    assert "# ours" in (host.text("/etc/containerd/config.toml") or "")


def test_lines_that_end_as_on_windows(host: Host, records: Path) -> None:
    config = 'version = 2\r\n[plugins."io.containerd.grpc.v1.cri".registry]\r\n  config_path = "" # none\r\n'
    host.path("/etc/containerd").mkdir(parents=True)
    host.path("/etc/containerd/config.toml").write_bytes(config.encode())
    apply(host, containerd.plan(host, Wanted()), records)
    cri = tomllib.loads(host.path("/etc/containerd/config.toml").read_bytes().decode())["plugins"]
    assert cri["io.containerd.grpc.v1.cri"]["registry"] == {"config_path": "/etc/containerd/certs.d"}


IMPORTING = 'version = 2\nimports = ["conf.d/*.toml"]\n'
CRI = '[plugins."io.containerd.grpc.v1.cri".registry]\n'


def test_a_config_path_in_an_imported_file_is_the_one_that_holds(host: Host, records: Path) -> None:
    put(host, "/etc/containerd/config.toml", IMPORTING)
    put(host, "/etc/containerd/conf.d/a.toml", f'version = 2\n{CRI}  config_path = "/srv/certs.d:/other"\n')
    plan = containerd.plan(host, Wanted())
    apply(host, plan, records)
    assert not plan.restart
    assert hosts(host, "_default", "/srv/certs.d")


def test_an_imported_table_that_would_hide_ours_is_named(host: Host) -> None:
    put(host, "/etc/containerd/config.toml", IMPORTING)
    put(host, "/etc/containerd/conf.d/a.toml", 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  x = 1\n')
    with pytest.raises(UsageError, match=r"conf\.d/a\.toml.*set it by hand"):
        containerd.plan(host, Wanted())


def test_a_daemon_that_moved_is_followed_in_all_files(host: Host, records: Path) -> None:
    for name in ("one.example.com", "two.example.com"):
        apply(host, containerd.plan(host, Wanted(registries=(name,))), records)
    wanted = Wanted(registries=("two.example.com",), daemon="127.0.0.1:7001", former=("127.0.0.1:65001",))
    apply(host, containerd.plan(host, wanted), records)
    for name in ("one.example.com", "two.example.com"):
        assert list(hosts(host, name)) == ["http://127.0.0.1:7001"]
    assert not containerd.plan(host, wanted).needed


def test_a_registry_without_tls_is_fallen_back_to_as_such(host: Host, records: Path) -> None:
    plan = containerd.plan(host, Wanted(registries=("r:5000",), plain=frozenset({"r:5000"})))
    apply(host, plan, records)
    text = host.text("/etc/containerd/certs.d/r:5000/hosts.toml") or ""
    assert tomllib.loads(text)["server"] == "http://r:5000"
    assert "dfdaemon needs: --map r:5000=http://r:5000" in plan.notes
