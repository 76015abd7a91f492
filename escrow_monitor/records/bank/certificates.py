"""The certificate each bank showed at our last connection: how long it will go on being accepted."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, Session

from escrow_monitor.domain.certificates import Certificate, CertificateRole, CertificateState
from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row


class BankCertificateRow(Row, table=True):
    """One bank's own certificate, as it was last seen."""

    __tablename__ = "bank_certificates"

    bank: str = Field(primary_key=True)
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    sha256: str
    first_seen_at: datetime
    seen_at: datetime


def note_certificate(session: Session, bank: str, certificate: Certificate, *, now: datetime) -> None:
    """Keep what a bank showed; one that is older news than what is kept changes nothing."""
    run(
        session,
        "INSERT INTO bank_certificates (bank, subject, issuer, not_before, not_after, sha256, first_seen_at, seen_at)"
        " VALUES (:bank, :subject, :issuer, :not_before, :not_after, :sha256, :now, :now)"
        " ON CONFLICT (bank) DO UPDATE SET subject = :subject, issuer = :issuer, not_before = :not_before,"
        " not_after = :not_after, seen_at = :now, first_seen_at ="
        " CASE WHEN bank_certificates.sha256 = :sha256 THEN bank_certificates.first_seen_at ELSE :now END,"
        " sha256 = :sha256 WHERE bank_certificates.seen_at <= :now",
        bank=bank, subject=certificate.subject, issuer=certificate.issuer, not_before=certificate.not_before,
        not_after=certificate.not_after, sha256=certificate.sha256, now=now,
    )


def seen_certificates(session: Session) -> dict[str, CertificateState]:
    """By bank, the certificate of the last connection. A bank that never showed one is absent."""
    at = Reader(session).at
    rows = run(
        session,
        "SELECT bank, subject, issuer, not_before, not_after, sha256, seen_at FROM bank_certificates ORDER BY bank",
    )
    return {
        row[0]: CertificateState(
            bank=row[0], role=CertificateRole.SERVER, seen_at=at(row[6]),
            certificates=(Certificate(
                subject=row[1], issuer=row[2], not_before=at(row[3]), not_after=at(row[4]), sha256=row[5]
            ),),
        )
        for row in rows
    }
