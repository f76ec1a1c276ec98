"""Hugging Face's hub client, unchanged, in front of a hub of our own: a private model by HF_ENDPOINT and HTTPS_PROXY.

As the real one does, the hub redirects large files to a store of another name, by a URL that is signed
anew for each request, and says their size and commit in headers of the redirect.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path

import pytest
import yaml

from e2e.certificates import Authority
from e2e.nodes import Node
from e2e.origins import Nginx
from e2e.world import MIRROR, Daemon, Supernode, World, at_once

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.needs("nginx")

HUB, STORE = "hub.example", "store.example"
COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_" + "t" * 34
WEIGHTS = random.Random("weights").randbytes(6_000_000)
CONFIG = json.dumps({"model_type": "probe"}).encode()

PULL = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download("team/model", token=sys.argv[1] or False))
"""


@pytest.fixture(scope="module")
def store(world: World, authority: Authority) -> Nginx:
    """Refuses who shows credentials, or no signature. The hub beside it sends clients here."""
    node = world.node("hub")
    files = node.home / "store"
    files.mkdir()
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    (files / digest).write_bytes(WEIGHTS)
    (node.home / "hub").mkdir()
    (node.home / "hub" / "config.json").write_bytes(CONFIG)
    model = {
        "id": "team/model", "sha": COMMIT, "private": True,
        "siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}],
    }  # fmt: skip
    tree = [
        {"type": "file", "path": "config.json", "size": len(CONFIG), "oid": "1" * 40},
        {
            "type": "file", "path": "model.safetensors", "size": len(WEIGHTS), "oid": "2" * 40,
            "lfs": {"oid": digest, "size": len(WEIGHTS), "pointerSize": 130},
        },
    ]  # fmt: skip
    Nginx(
        node, node.home / "hub", port=443, tls=authority.issue(HUB), name="hub",
        extra=f"""
        if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}
        location ~ ^/api/models/.*/tree/ {{ default_type application/json; return 200 '{json.dumps(tree)}'; }}
        location /api/models/ {{ default_type application/json; return 200 '{json.dumps(model)}'; }}
        location ~ ^/team/model/resolve/[^/]+/model.safetensors$ {{
          add_header X-Repo-Commit {COMMIT} always; add_header X-Linked-Size {len(WEIGHTS)} always;
          add_header X-Linked-ETag '"{digest}"' always;
          return 302 https://{STORE}/{digest}?signature=$request_id&expires=60;
        }}
        location ~ ^/team/model/resolve/[^/]+/(?<file>config.json)$ {{
          add_header X-Repo-Commit {COMMIT}; rewrite ^ /$file break;
        }}""",
    )  # fmt: skip
    return Nginx(
        node, files, port=8443, tls=authority.issue(STORE), name="store",
        extra='if ($http_authorization) { return 400; } if ($arg_signature = "") { return 403; }',
    )  # fmt: skip


@pytest.fixture(scope="module")
def daemons(world: World, store: Nginx, authority: Authority) -> list[Daemon]:
    supernode_node = world.node("super")
    nodes = world.nodes(2)
    for node in [supernode_node, *nodes]:
        node.knows(**{HUB: store.node.ip, STORE: store.node.ip})
    config = world.base / "hub.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "upstream_ca": str(authority.certificate),
                "hijack": [{"regex": r"^(hub|store)\.example:"}],
                "rules": [
                    {"regex": rf"^https://{STORE}/", "redirect": f"{STORE}:8443",
                     "filters": ["signature", "expires"]},
                ],
            }
        )
    )  # fmt: skip
    return world.daemons(nodes, Supernode(supernode_node), "--config", str(config))


def pull(daemon: Daemon, token: str) -> tuple[int, str, str]:
    node: Node = daemon.node
    done = node.run(
        sys.executable, "-c", PULL, token, check=False,
        env={
            "HF_ENDPOINT": f"https://{HUB}", "HTTPS_PROXY": f"http://127.0.0.1:{MIRROR}",
            "SSL_CERT_FILE": str(daemon.ca), "REQUESTS_CA_BUNDLE": str(daemon.ca),
            "HF_HOME": str(node.home / f"hf-{token[:3]}"), "HF_HUB_DISABLE_TELEMETRY": "1",
        },
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr


def test_a_private_model_on_two_nodes_costs_the_store_one(daemons: list[Daemon], store: Nginx) -> None:
    store.mark()
    for status, folder, errors in at_once(daemons, lambda daemon: pull(daemon, TOKEN)):
        assert status == 0, errors
        assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
        assert (Path(folder) / "config.json").read_bytes() == CONFIG
        assert Path(folder).name == COMMIT
    assert store.body_bytes() <= 1.02 * len(WEIGHTS)
    status, _, errors = pull(daemons[0], "")
    assert status != 0
    assert "401" in errors
