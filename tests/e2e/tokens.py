"""A token server as the distribution's token authentication wants it, for tests.

    python tokens.py LISTEN_PORT ISSUER SERVICE CERT KEY STATE_JSON

STATE_JSON: {"users": {NAME: PASSWORD}, "rights": {NAME: [REPOSITORY, …]}}; a user gets `pull,push`
on the repositories of its list. It is read at each request, so rights can change meanwhile.
Each answer is one line of output: user, scope, what was granted.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

LIFETIME_S = 300


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens (ES256; the certificate chain travels in the header, `x5c`)."""

    def __init__(self, issuer: str, service: str, cert: Path, key: Path) -> None:
        self._issuer, self._service = issuer, service
        self._chain = [base64.b64encode(ssl.PEM_cert_to_DER_cert(cert.read_text())).decode()]
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded

    def token(self, user: str, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "ES256", "x5c": self._chain}
        claims = {
            "iss": self._issuer,
            "sub": user,
            "aud": self._service,
            "exp": now + LIFETIME_S,
            "nbf": now - 30,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Handler(BaseHTTPRequestHandler):
    issuer: Issuer
    state: Path
    refresh: dict[str, str] = {}

    def do_GET(self) -> None:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user, password = "", ""
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
        self._answer(user, password, query.get("scope", ""), offline="offline_token" in query)

    def do_POST(self) -> None:
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        if form.get("grant_type") == "refresh_token":
            user = self.refresh.get(form.get("refresh_token", ""), "")
            password = self._users().get(user, "")
        else:
            user, password = form.get("username", ""), form.get("password", "")
        self._answer(user, password, form.get("scope", ""), offline=form.get("access_type") == "offline")

    def _users(self) -> dict[str, str]:
        users: dict[str, str] = json.loads(self.state.read_text())["users"]
        return users

    def _answer(self, user: str, password: str, scope: str, *, offline: bool) -> None:
        if user and (not password or self._users().get(user) != password):
            print(f"{user} refused", flush=True)
            self._send(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]})
            return
        allowed = json.loads(self.state.read_text())["rights"].get(user, [])
        access: list[dict[str, object]] = []
        for one in scope.split():
            kind, name, actions = (
                one.rsplit(":", 1)[0].partition(":")[0],
                one.split(":")[1],
                one.split(":")[-1],
            )
            if name in allowed:
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        print(f"{user or '-'} {scope or '-'} granted {len(access)}", flush=True)
        token = self.issuer.token(user, access)
        answer: dict[str, object] = {"token": token, "access_token": token, "expires_in": LIFETIME_S}
        if offline:
            refresh = secrets.token_hex(16)
            self.refresh[refresh] = user
            answer["refresh_token"] = refresh
        self._send(200, answer)

    def _send(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Only the lines above."""


def main() -> None:
    port, issuer, service, cert, key, state = sys.argv[1:]
    Handler.issuer = Issuer(issuer, service, Path(cert), Path(key))
    Handler.state = Path(state)
    ThreadingHTTPServer(("0.0.0.0", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
