"""Private registries: the client's own credentials decide, for what is cached, too."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.images import Image
from e2e.nodes import Node
from e2e.origins import Nginx
from e2e.registries import Registry, Tokens, start_registry
from e2e.runtimes import Docker, skopeo_pull
from e2e.world import MIRROR, Supernode, World, dfget

pytestmark = pytest.mark.needs("docker-registry", "skopeo", "htpasswd", "dockerd")

BASIC, TOKEN = "basic.p2p", "token.p2p"


@pytest.fixture(scope="module")
def upstream(world: World) -> Node:
    return world.node("registry")


@pytest.fixture(scope="module")
def tokens(world: World, upstream: Node, images: dict[str, Image]) -> Tokens:
    made = Tokens(upstream, 5099, Authority(world.base / "token-ca"))
    made.user("ann", "pass", images["secret"].name, images["tool"].name)
    made.user("bob", "word", images["tool"].name)
    made.user("", "", images["tool"].name)
    return made


@pytest.fixture(scope="module")
def registries(upstream: Node, storage: Path, tokens: Tokens) -> dict[str, Registry]:
    return {
        BASIC: start_registry(upstream, storage, port=5001, users={"ann": "pass"}, name="basic"),
        TOKEN: start_registry(upstream, storage, port=5002, tokens=tokens, name="token"),
    }


@pytest.fixture(scope="module")
def nodes(world: World, registries: dict[str, Registry]) -> list[Node]:
    supernode: Supernode = world.supernode()
    made = world.nodes(2)
    maps = [f"--map={domain}={registry.url}" for domain, registry in registries.items()]
    for daemon in world.daemons(made, supernode, "--tls-listen", "127.0.0.1:443", *maps):
        daemon.node.knows(**dict.fromkeys(registries, "127.0.0.1"))
        for domain in registries:
            daemon.trust_in(f"/etc/docker/certs.d/{domain}")
            daemon.trust_in(f"/etc/containers/certs.d/{domain}")
    return made


@pytest.fixture(scope="module")
def docker(nodes: list[Node]) -> Docker:
    return Docker(nodes[0])


@pytest.mark.parametrize("domain", [BASIC, TOKEN])
def test_docker_login_and_pull(
    docker: Docker, registries: dict[str, Registry], images: dict[str, Image], domain: str
) -> None:
    secret = images["secret"]
    reference = f"{domain}/{secret.name}:{secret.tag}"
    refused = docker.cli("pull", reference, check=False)
    assert refused.returncode != 0
    # What lives on 127.0.0.0/8 docker tries by plain http, too, after a refusal by https.
    words = ("denied", "unauthorized", "authentication required", "no basic auth", "connection refused")
    assert any(word in refused.stderr for word in words)
    docker.cli("login", "-u", "ann", "-p", "pass", domain)
    registries[domain].mark()
    docker.pull(reference)
    assert docker.layers(reference) == list(secret.diff_ids)
    assert registries[domain].blob_bytes() <= 1.02 * secret.blob_bytes


@pytest.mark.parametrize("domain", [BASIC, TOKEN])
def test_a_cached_blob_is_kept_from_whom_the_registry_refuses(
    nodes: list[Node], images: dict[str, Image], domain: str
) -> None:
    """On both nodes, after ann has pulled it there."""
    secret = images["secret"]
    reference = f"{domain}/{secret.name}:{secret.tag}"
    for node in nodes:
        got = skopeo_pull(node, reference, "--src-creds", "ann:pass")
        assert {digest for digest, _ in secret.layers} <= got.keys()
    for node in nodes:
        for digest, _ in secret.layers:
            for credentials in ([], ["-u", "ann:guess"], ["-u", "bob:word"]):
                status, body = blob(node, domain, secret.name, digest, *credentials)
                assert status in (401, 403, 404), (credentials, status)
                assert secret.blob(digest).read_bytes()[:1000] not in body.encode(errors="replace")
        assert skopeo_pull(node, reference, "--src-no-creds", check=False) == {}
        assert skopeo_pull(node, reference, "--src-creds", "bob:word", check=False) == {}


def test_a_blob_of_a_private_repository_is_not_had_by_another_repositorys_name(
    nodes: list[Node], tokens: Tokens, images: dict[str, Image]
) -> None:
    """bob may read team/tool; asking there for private/secret's layer brings nothing."""
    secret, tool = images["secret"], images["tool"]
    bearer = token_for(nodes[0], tokens, "bob:word", f"repository:{tool.name}:pull")
    mine = tool.layers[0][0]
    status, _ = blob(nodes[0], TOKEN, tool.name, mine, "-H", f"Authorization: Bearer {bearer}")
    assert status == 200
    for name in (tool.name, secret.name):
        status, _ = blob(nodes[0], TOKEN, name, secret.layers[0][0], "-H", f"Authorization: Bearer {bearer}")
        assert status in (401, 403, 404)


def test_a_server_of_ones_own_opens_no_private_blob(
    world: World, nodes: list[Node], upstream: Node, images: dict[str, Image]
) -> None:
    """It says yes to everything and knows the length, but has nothing: by proxy, by dfget, on any node."""
    secret = images["secret"]
    digest, _ = secret.layers[0]
    (upstream.home / "liar").mkdir()
    with (upstream.home / "liar" / "zeros").open("wb") as zeros:
        zeros.truncate(secret.blob(digest).stat().st_size)
    liar = Nginx(
        upstream, upstream.home / "liar", port=5066, name="liar", extra="location / { try_files /zeros =404; }"
    )
    skopeo_pull(nodes[0], f"{BASIC}/{secret.name}:{secret.tag}", "--src-creds", "ann:pass")
    begin = secret.blob(digest).read_bytes()[:1000]
    url = f"{liar.url}/v2/{secret.name}/blobs/{digest}"
    for node in nodes:
        node.run("curl", "-sS", "-x", f"http://127.0.0.1:{MIRROR}", "-o", node.home / "taken", url)
        assert begin not in (node.home / "taken").read_bytes()
        got = dfget(node, url, "--digest", digest)
        assert got.status == 3, got.errors
        assert not got.file.exists()


def test_the_challenge_is_the_registrys_own(nodes: list[Node], registries: dict[str, Registry]) -> None:
    """So that clients go to the right token server: 401 and WWW-Authenticate come through as sent."""
    for domain, registry in registries.items():
        direct = nodes[0].run("curl", "-sSi", f"{registry.url}/v2/").stdout
        through = nodes[0].run("curl", "-sSik", f"https://{domain}/v2/").stdout
        assert " 401" in through.splitlines()[0]
        assert header(direct, "WWW-Authenticate") == header(through, "WWW-Authenticate")


@pytest.fixture(scope="module")
def redirecting(world: World, upstream: Node, storage: Path, images: dict[str, Image]) -> tuple[str, Nginx]:
    """URL of a registry with basic authentication whose blobs are in an object store elsewhere: it answers
    307 with a signed query, and the store refuses who brings credentials or no signature."""
    shop = Nginx(
        world.node("objects"), storage, port=8000, name="objects",
        extra='if ($http_authorization) { return 400; } if ($arg_X_Signature != "good+1/2=") { return 403; }',
    )  # fmt: skip
    start_registry(upstream, storage, port=5003, name="behind")
    passwords = upstream.home / "front.htpasswd"
    passwords.write_text(upstream.run("htpasswd", "-nbm", "ann", "pass").stdout)
    passwords.chmod(0o644)
    front = Nginx(
        upstream, upstream.home / "front", port=5004, name="front",
        extra=f"""
        auth_basic e2e; auth_basic_user_file {passwords};
        location ~ "^/v2/.*/blobs/sha256:(?<hex>(?<two>..).*)$" {{
          return 307 {shop.url}/docker/registry/v2/blobs/sha256/$two/$hex/data?X_Signature=good+1/2=;
        }}
        location / {{ proxy_pass http://127.0.0.1:5003; }}""",
    )  # fmt: skip
    return front.url, shop


def test_blobs_behind_a_redirect_with_a_signed_query(
    world: World, redirecting: tuple[str, Nginx], images: dict[str, Image]
) -> None:
    url, shop = redirecting
    secret = images["secret"]
    nodes = [world.node("r1"), world.node("r2")]
    supernode = world.supernode(name="super2")
    world.daemons(nodes, supernode, "--registry", url)
    reference = f"127.0.0.1:{MIRROR}/{secret.name}:{secret.tag}"
    plain = "--src-tls-verify=false"
    for node in nodes:
        got = skopeo_pull(node, reference, plain, "--src-creds", "ann:pass")
        assert {digest for digest, _ in secret.layers} <= got.keys()
        assert skopeo_pull(node, reference, plain, "--src-creds", "ann:guess", check=False) == {}
    assert shop.body_bytes("/data") <= 1.02 * secret.blob_bytes


def test_secrets_are_not_in_logs(world: World, nodes: list[Node]) -> None:
    """Run last in this file: after all those logins."""
    secret = base64.b64encode(b"ann:pass").decode()
    for node in nodes:
        for process in node.processes:
            if process.name.endswith("dfdaemon"):
                assert secret not in process.output()
                assert "Bearer ey" not in process.output()


def blob(node: Node, domain: str, name: str, digest: str, *options: str) -> tuple[int, str]:
    """Status and body of a blob asked for at the daemon."""
    done = node.run(
        "sh", "-c", 'url=$1; shift; curl -sSk -w "%{http_code}" -o /run/body "$@" "$url"', "sh",
        f"https://{domain}/v2/{name}/blobs/{digest}", *options,
    )  # fmt: skip
    return int(done.stdout), node.path("/run/body").read_text(errors="replace")


def token_for(node: Node, tokens: Tokens, user: str, scope: str) -> str:
    url = f"{tokens.realm}?service={tokens.service}&scope={scope}"
    token: str = json.loads(node.run("curl", "-sSf", "-u", user, url).stdout)["token"]
    return token


def header(answer: str, name: str) -> str:
    for line in answer.splitlines():
        if line.lower().startswith(f"{name.lower()}:"):
            return line.partition(":")[2].strip()
    return ""
