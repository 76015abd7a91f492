"""`[web.oidc]`: the organisation's own sign-in, and what its claims make of people here."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import DISTRICT_SHAPE
from escrow_monitor.settings.section import Seconds, Section


class OidcRoleSettings(Section):
    """Who has `value` in the claim of roles has this role. `districts` are codes, or "all"; left out, `districts_claim`
    says which. `institution` (USCC) goes with the role institution; left out, `institution_claim` says which."""

    value: str = Field(min_length=1)
    role: UserRole
    districts: tuple[str, ...] | Literal["all"] | None = None
    institution: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> OidcRoleSettings:
        if self.role is UserRole.INSTITUTION and self.districts is not None:
            raise ValueError("the role institution has no districts: it sees its own institution only")
        if self.role is not UserRole.INSTITUTION and self.institution is not None:
            raise ValueError("institution goes with the role institution alone")
        if isinstance(self.districts, tuple):
            strange = [code for code in self.districts if not DISTRICT_SHAPE.match(code)]
            if strange or not self.districts:
                raise ValueError('districts are 2 to 6 digits of their codes, like ["5103"], or "all"')
        return self


class OidcSettings(Section):
    """A provider of OpenID Connect: authorization code with PKCE, a client that has a secret.

    `issuer` as the provider writes it, to the letter. Its address for us to register is HOME_URL/sign-in/oidc/callback.
    `name_claim` gives the name to sign in with; take one that people cannot change themselves. `roles` empty: the role
    is the one given by `users add`. `provision` adds people who were never here; else only those who were added are
    let in. Claims stand in the ID token; a claim may lie deeper: realm_access.roles.
    """

    issuer: str
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    scopes: tuple[str, ...] = ("openid", "profile")
    label_zh: str = Field(default="单位统一登录", max_length=30)
    label_en: str = Field(default="your organisation", max_length=40)
    name_claim: str = "preferred_username"
    display_name_claim: str = "name"
    roles_claim: str = "groups"
    districts_claim: str = ""
    institution_claim: str = ""
    roles: tuple[OidcRoleSettings, ...] = ()
    provision: bool = False
    timeout_seconds: Seconds = 10
    ca_file: Path | None = None

    @field_validator("issuer")
    @classmethod
    def _reached_safely(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        is_here = parts.scheme == "http" and _is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or is_here) or parts.query or parts.fragment:
            raise ValueError("an issuer is an https address without ? and #, as the provider writes it")
        return issuer

    @model_validator(mode="after")
    def _is_whole(self) -> OidcSettings:
        if (self.client_secret is None) == (self.client_secret_file is None):
            raise ValueError("set client_secret_file, a file with the secret of the client, or client_secret")
        if "openid" not in self.scopes:
            raise ValueError("the scopes must hold openid")
        if self.provision and not self.roles:
            raise ValueError("provision adds people with the role that roles say: set [[web.oidc.roles]]")
        for line in self.roles:
            if line.role is UserRole.INSTITUTION:
                if line.institution is None and not self.institution_claim:
                    raise ValueError(f"roles: {line.value}: say which institution, or set institution_claim")
            elif line.districts is None and not self.districts_claim:
                raise ValueError(f'roles: {line.value}: say which districts ("all" for every one), or districts_claim')
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
