"""The one way out to the provider of sign-ins: OpenID Connect, authorization code with PKCE.

    begin   --> the address at the provider, and what this browser must bring back (state, nonce, verifier)
    finish  --> code --> ID token --> its signature, issuer, audience, time and nonce --> issuer, subject and claims

Authlib checks claims and joserfc signatures (pip install 'escrow-monitor[oidc]'). Authlib's own HTTP clients are not
used: they take another library than httpx where one happens to be installed.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx

from escrow_monitor.domain.identities import Mapped, Outsider
from escrow_monitor.errors import ConfigurationError, OutsideError
from escrow_monitor.logs import log

EXTRA = "escrow-monitor[oidc]"
KNOWN_FOR = timedelta(hours=1)
"""So long are the provider's addresses and keys taken as they were read."""
KEYS_AGAIN_AFTER = timedelta(seconds=10)
"""A key that is not known is looked for at the provider, no more often than this."""
LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""
ISSUED_BEFORE = timedelta(minutes=10)
"""An ID token is made for the code that was just given: an older one is not this sign-in's."""
ANSWER_BYTES_MAX = 1024 * 1024
SUBJECT_CHARACTERS_MAX = 255
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures with a key that only the provider has. "none" is no signature, and HS256 one that we could make."""
KEY_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderSilent(OutsideError):
    """The provider of sign-ins did not answer as it must."""


class NotVouchedFor(OutsideError):
    """The provider did not vouch for anybody in a way that can be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who we are at the provider, and how it is reached. `labels` are what the button says it is, by language."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ("openid", "profile")
    timeout_seconds: float = 10
    ca_file: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    mapped: Mapped = field(default_factory=Mapped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sign-in that has begun: where the browser goes, and what is kept for when it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read of the provider, and when."""

    document: Mapping[str, Any]
    keys: tuple[Mapping[str, Any], ...]
    at: datetime


class Provider:
    """One provider. Nothing is asked of it until somebody wants to sign in; then its addresses and keys are kept."""

    def __init__(self, client: Client) -> None:
        """Raises ConfigurationError where the extra is not installed, or the certificate file cannot be read."""
        try:
            import_module("authlib.oidc.core")
            import_module("joserfc.jwt")
        except ImportError as error:
            raise ConfigurationError(f"web.oidc: OpenID Connect is not installed: pip install '{EXTRA}'") from error
        self.client = client
        try:
            self._tls = ssl.create_default_context(cafile=client.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"web.oidc.ca_file: cannot read {client.ca_file}") from error
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def begin(self, *, redirect_uri: str, now: datetime) -> Begun:
        """Begin a sign-in. Raises ProviderSilent."""
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        address = self._address(self._read(now), "authorization_endpoint")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = urlencode({
            "response_type": "code", "client_id": self.client.client_id, "redirect_uri": redirect_uri,
            "scope": " ".join(self.client.scopes), "state": state, "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256",
        })
        joined = "&" if urlsplit(address).query else "?"
        return Begun(url=f"{address}{joined}{asked}", state=state, nonce=nonce, verifier=verifier)

    def finish(
        self, *, code: str, verifier: str, nonce: str, redirect_uri: str, now: datetime
    ) -> Outsider:
        """Exchange a code for whom the provider vouches for. Raises ProviderSilent, NotVouchedFor."""
        known = self._read(now)
        answer = self._token(known, code=code, verifier=verifier, redirect_uri=redirect_uri)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotVouchedFor("the provider's answer holds no ID token")
        header, claims = self._signed(token, now)
        self._check(header, claims, nonce=nonce, access_token=answer.get("access_token"), now=now)
        return Outsider(issuer=self.client.issuer, subject=claims["sub"], claims=claims)

    def _token(self, known: _Known, *, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        asked = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }
        methods = known.document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic: httpx.BasicAuth | None = None
        if "client_secret_basic" in methods:
            # RFC 6749 2.3.1: both are form-encoded first.
            basic = httpx.BasicAuth(quote_plus(self.client.client_id), quote_plus(self.client.client_secret))
        else:
            asked |= {"client_id": self.client.client_id, "client_secret": self.client.client_secret}
        address = self._address(known, "token_endpoint")
        status, answer = self._ask("POST", address, data=asked, auth=basic)
        if status == 200:
            return answer
        said = str(answer.get("error", ""))[:40]
        if status in (400, 401, 403):
            if said == "invalid_grant":
                raise NotVouchedFor("the provider does not take this code: it is used, too old, or another's")
            raise ProviderSilent(f"the provider refuses this client: {status} {said}")
        raise ProviderSilent(f"the provider answered {status} at its token endpoint")

    def _signed(self, token: str, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
        """The header and claims of a token that the provider signed with one of its keys."""
        header = _header_of(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise NotVouchedFor(f"the ID token is signed by {str(algorithm)[:20]!r}, which is not taken")
        claims = self._verified(token, header, self._read(now))
        if claims is None:
            # The provider may have changed its keys since they were read.
            claims = self._verified(token, header, self._read(now, again=True))
        if claims is None:
            raise NotVouchedFor("the ID token is not signed by a key of the provider")
        return header, claims

    def _verified(self, token: str, header: Mapping[str, Any], known: _Known) -> dict[str, Any] | None:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey, RSAKey
        from joserfc.jws import JWSRegistry

        # Providers put names of their own into the header; what is critical there is refused all the same.
        registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        for key in _fitting(known.keys, header):
            try:
                made = RSAKey.import_key(dict(key)) if key["kty"] == "RSA" else ECKey.import_key(dict(key))
                return dict(jwt.decode(token, made, registry=registry).claims)
            except (JoseError, ValueError, TypeError):
                continue
        return None

    def _check(
        self, header: dict[str, Any], claims: dict[str, Any], *, nonce: str, access_token: object, now: datetime
    ) -> None:
        """Raise NotVouchedFor unless the token is for us, of now and of this sign-in."""
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import JoseError

        at = int(now.timestamp())
        token = CodeIDToken(
            claims, header,
            options={
                "iss": {"essential": True, "value": self.client.issuer},
                "aud": {"essential": True, "value": self.client.client_id},
                "sub": {"essential": True}, "exp": {"essential": True}, "iat": {"essential": True},
                "nonce": {"essential": True},
            },
            params={
                "nonce": nonce, "client_id": self.client.client_id,
                **({"access_token": access_token} if isinstance(access_token, str) else {}),
            },
        )
        try:
            token.validate(now=at, leeway=LEEWAY_SECONDS)
        except (JoseError, TypeError, ValueError) as error:
            raise NotVouchedFor(f"the ID token is not for this sign-in: {str(error)[:100]}") from error
        if claims["iat"] < at - ISSUED_BEFORE.total_seconds():
            raise NotVouchedFor("the ID token is not for this sign-in: it was issued too long ago")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARACTERS_MAX or not subject.isprintable():
            raise NotVouchedFor("the ID token names nobody")

    def _read(self, now: datetime, *, again: bool = False) -> _Known:
        """What the provider says of itself. `again` reads its keys anew, unless that was done just now."""
        with self._lock:
            known = self._known
            if known is not None and now - known.at < (KEYS_AGAIN_AFTER if again else KNOWN_FOR):
                return known
            address = self.client.issuer.rstrip("/") + WELL_KNOWN
            document = self._got(address)
            if document.get("issuer") != self.client.issuer:
                raise ProviderSilent(f"{address} is of another issuer: {str(document.get('issuer'))[:100]!r}")
            keys = self._got(self._safe(document.get("jwks_uri"), "jwks_uri")).get("keys")
            if not isinstance(keys, list):
                raise ProviderSilent("the provider's keys cannot be read")
            self._known = _Known(
                document=document, keys=tuple(key for key in keys if isinstance(key, dict)), at=now
            )
            return self._known

    def _got(self, address: str) -> Mapping[str, Any]:
        status, answer = self._ask("GET", address)
        if status != 200:
            raise ProviderSilent(f"the provider answered {status} at {address}")
        return answer

    def _ask(
        self, method: str, address: str, *, data: Mapping[str, str] | None = None, auth: httpx.BasicAuth | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One call: no redirect is followed, no proxy of the environment taken, no endless answer read."""
        try:
            with (
                httpx.Client(
                    timeout=self.client.timeout_seconds, verify=self._tls, trust_env=False, follow_redirects=False
                ) as client,
                client.stream(method, address, data=data, auth=auth, headers={"Accept": "application/json"}) as answer,
            ):
                body = b"".join(_bounded(answer.iter_bytes()))
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log(__name__).warning("oidc.silent", address=address, detail=type(error).__name__)
            raise ProviderSilent(f"no answer of {address}: {type(error).__name__}") from error
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        return status, found if isinstance(found, dict) else {}

    def _address(self, known: _Known, name: str) -> str:
        return self._safe(known.document.get(name), name)

    def _safe(self, address: object, name: str) -> str:
        """An address that the provider names, no less safe than its own."""
        parts = urlsplit(address) if isinstance(address, str) else None
        if parts is None or not parts.hostname or parts.scheme not in ("https", urlsplit(self.client.issuer).scheme):
            raise ProviderSilent(f"the provider names no safe {name}")
        return str(address)


def _header_of(token: str) -> dict[str, Any]:
    """What a token says of its signature; nothing of it is believed yet."""
    first = token.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotVouchedFor("the ID token cannot be read")
    return found


def _fitting(keys: tuple[Mapping[str, Any], ...], header: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The keys that may have signed a token with this header."""
    for key in keys:
        if key.get("kty") != KEY_KINDS[header["alg"][:2]] or key.get("use", "sig") != "sig":
            continue
        if key.get("alg", header["alg"]) == header["alg"] and header.get("kid") in (None, key.get("kid")):
            yield key


def _bounded(parts: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise ProviderSilent("the provider's answer has no end")
        yield part
