"""Authorities, servers and clients with certificates that end when a test says so."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme
from bank_server import BankServer, Reply, Request


@dataclass(frozen=True, slots=True)
class TlsWorld:
    """One authority and what it issues, as files below `folder`."""

    folder: Path
    authority: trustme.CA

    @classmethod
    def at(cls, folder: Path) -> TlsWorld:
        folder.mkdir(parents=True, exist_ok=True)
        world = cls(folder, trustme.CA(organization_name="Root of Trust"))
        world.authority.cert_pem.write_to_path(world.ca)
        return world

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def client(self, name: str = "client.pem", *, until: datetime | None = None) -> Path:
        path = self.folder / name
        issued = self.authority.issue_cert("us.example", common_name="escrow monitor", not_after=until)
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def server(
        self, handler: Callable[[Request], Reply], *, until: datetime | None = None, host: str = "localhost",
        wants_client: bool = False,
    ) -> BankServer:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(host, common_name="bank door", not_after=until).configure_cert(context)
        if wants_client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return BankServer(handler, tls=context)
