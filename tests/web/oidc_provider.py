"""A provider of OpenID Connect on loopback: it checks its clients and PKCE as a real one does, and errs when told to.

Its tokens are signed with the cryptography library alone, so that it shares no code with what is tested.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CLIENT_ID = "escrow-monitor"
CLIENT_SECRET = "a secret: of+the client"


@dataclass
class OidcProvider:
    """What it answers next stands in its fields; a test sets them."""

    now: Callable[[], datetime]
    redirect_uri: str
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "S-1", "preferred_username": "li", "name": "李雷"})
    """Who signs in, as the next token has it; `nonce`, `iss`, `aud`, `exp` and `iat` may be overridden."""
    algorithm: str = "RS256"
    auth_methods: tuple[str, ...] = ("client_secret_basic",)
    issuer_said: str = ""
    status: int = 200
    """What every endpoint answers instead of 200."""
    redirects_to: str = ""
    error: str = ""
    """What the authorization endpoint answers instead of a code."""
    sign_with: str = ""
    """The id of the key to sign with, if another than the newest."""
    token_extra: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _keys: dict[str, Any] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rotate()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self, "GET", {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
                provider._answer(self, "POST", {name: values[0] for name, values in parse_qs(body).items()})

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self._host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = f"{self._host}/realms/city"

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def rotate(self, *, publish: bool = True) -> str:
        """Make new keys; those before are published no longer."""
        number = len(self._keys) // 2 + 1
        self._keys[f"rsa-{number}"], self._keys[f"ec-{number}"] = _keys_of(number)
        if publish:
            self.published = [f"rsa-{number}", f"ec-{number}"]
        return str(number)

    def authorized(self, url: str) -> str:
        """What a browser that signs in at this address is led back to: path and query of the client's address."""
        parts = urlsplit(url)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert f"{self._host}{parts.path}" == f"{self.issuer}/authorize"
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == self.redirect_uri  # a real one shows an error page and never redirects
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert "openid" in asked["scope"].split()
        assert len(asked["state"]) >= 32
        assert len(asked["nonce"]) >= 32
        back = {"state": asked["state"]}
        if self.error:
            back |= {"error": self.error}
        else:
            code = secrets.token_urlsafe(16)
            self._codes[code] = asked
            back |= {"code": code, "iss": self.issuer_said or self.issuer}
        return urlsplit(self.redirect_uri).path + "?" + urlencode(back)

    def _answer(self, request: BaseHTTPRequestHandler, method: str, form: dict[str, str]) -> None:
        path = urlsplit(request.path).path
        self.asked.append((method, path, form))
        status, found = self.status, {}
        if (method, path) == ("GET", "/realms/city/authorize"):
            # Whoever comes is signed in there already.
            back = urlsplit(self.redirect_uri)
            request.send_response(302)
            led_to = self.authorized(self._host + request.path)
            request.send_header("Location", f"{back.scheme}://{back.netloc}{led_to}")
            request.end_headers()
            return
        if self.redirects_to:
            request.send_response(302)
            request.send_header("Location", self.redirects_to)
            request.end_headers()
            return
        if status == 200:
            if path == "/realms/city/.well-known/openid-configuration":
                found = self._document()
            elif path == "/realms/city/certs":
                found = {"keys": [{"kty": "oct", "kid": "sym", "k": "AAAA"}, *map(self._public, self.published)]}
            elif (method, path) == ("POST", "/realms/city/token"):
                status, found = self._token(form, request.headers.get("authorization", ""))
            else:
                status = 404
        body = json.dumps(found).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer_said or self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/certs",
            "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": list(self.auth_methods),
        }

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        given = (form.get("client_id", ""), form.get("client_secret", ""))
        if "client_secret_basic" in self.auth_methods:
            name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            given = (unquote_plus(name), unquote_plus(secret))
        if given != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)  # each code is good once
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            asked is None or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != asked["redirect_uri"] or asked["code_challenge"] != _text(digest)
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": "opaque", "token_type": "Bearer", "id_token": self.token(asked["nonce"]),
            **self.token_extra,
        }

    def token(self, nonce: str) -> str:
        """A signed ID token."""
        at = int(self.now().timestamp())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": at, "exp": at + 300, "nonce": nonce, **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        kind = {"RS256": "rsa", "ES256": "ec"}.get(self.algorithm, "rsa")
        newest = next((kid for kid in self.published if kid.startswith(kind)), f"{kind}-1")
        kid = self.sign_with or newest
        header = {"alg": self.algorithm, "kid": kid, "typ": "JWT", "x-of-the-provider": 1}
        said = f"{_text(json.dumps(header).encode())}.{_text(json.dumps(claims).encode())}"
        return f"{said}.{_text(self._signature(kid, said.encode()))}"

    def _signature(self, kid: str, said: bytes) -> bytes:
        key = self._keys[kid]
        if self.algorithm == "RS256":
            return bytes(key.sign(said, padding.PKCS1v15(), hashes.SHA256()))
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(key.sign(said, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.algorithm == "HS256":
            # The old trick: the public key, which everybody has, taken for a shared secret.
            import hmac

            return hmac.new(json.dumps(self._public(kid)).encode(), said, "sha256").digest()
        return b""

    def _public(self, kid: str) -> dict[str, Any]:
        numbers = self._keys[kid].public_key().public_numbers()
        if kid.startswith("rsa"):
            return {
                "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": _number(numbers.n), "e": _number(numbers.e)
            }
        return {"kty": "EC", "kid": kid, "use": "sig", "crv": "P-256", "x": _number(numbers.x), "y": _number(numbers.y)}


@lru_cache
def _keys_of(number: int) -> tuple[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]:
    """The same for every provider of a test run: to make them takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048), ec.generate_private_key(ec.SECP256R1())


def _number(value: int) -> str:
    return _text(value.to_bytes(-(-value.bit_length() // 8), "big"))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
