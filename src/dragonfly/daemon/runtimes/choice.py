"""The runtimes by name: how each is planned, and what it needs after its files were changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from dragonfly.daemon.runtimes import containerd, containers, docker
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import Plan
from dragonfly.daemon.runtimes.wanted import Wanted

__all__ = ["RUNTIMES", "Runtime"]


class Runtime(msgspec.Struct, frozen=True):
    plan: Callable[[Host, Wanted], Plan]
    restart: Callable[[Iterable[str]], str]


RUNTIMES = {
    "docker": Runtime(docker.plan, docker.restart),
    "containerd": Runtime(containerd.plan, containerd.restart),
    "podman": Runtime(containers.plan_podman, containers.restart_podman),
    "crio": Runtime(containers.plan_crio, containers.restart_crio),
}
