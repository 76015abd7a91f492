"""The register: institutions, and accounts with the newest state of each."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import Account, AccountStatus, Mode, Purpose
from escrow_monitor.domain.institutions import Institution, InstitutionKind, InstitutionStatus
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import Cells, Reader, fetch, is_sqlite, run, staged, texts
from escrow_monitor.records.closure_marks import EVER, mark_where
from escrow_monitor.records.columns import Row, fen, large, one_of
from escrow_monitor.records.incoming import KEYS_TOLD_MAX, Arrived, RowFault


class InstitutionRow(Row, table=True):
    """A provider whose prepaid fees are held."""

    __tablename__ = "institutions"
    __table_args__ = (
        CheckConstraint(one_of("kind", InstitutionKind), "kind"),
        CheckConstraint(one_of("status", InstitutionStatus), "status"),
        # The institutions of a district in the order of their codes, as lists go through them.
        Index("ix_institutions_places", "district", "uscc"),
    )

    uscc: str = Field(primary_key=True)
    name: str
    kind: str | None = None
    district: str | None = Field(default=None, index=True)
    grid: str | None = None
    licence_no: str | None = None
    licence_expires_on: date | None = None
    status: str
    policy: str | None = None
    recorded_at: datetime
    changed_at: datetime


class RegisterVersionRow(Row, table=True):
    """One row: how often institutions were new or changed, so that who holds them in memory sees that they are old."""

    __tablename__ = "register_version"

    one: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    version: int = large()


class AccountRow(Row, table=True):
    """A supervised account."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(one_of("purpose", Purpose), "purpose"),
        CheckConstraint(one_of("mode", Mode), "mode"),
    )

    account_no: str = Field(primary_key=True)
    uscc: str | None = Field(default=None, index=True)
    bank: str = Field(index=True)
    connector: str
    currency: str
    purpose: str
    mode: str
    opened_on: date | None = None
    external_id: str | None = None
    recorded_at: datetime
    changed_at: datetime


class AccountStateRow(Row, table=True):
    """The newest of what was stated of an account. `input_version` grows whenever a rule could see something new.

    `balance_moves` counts those of its steps at which nothing was new but the amount or the time of a balance that is
    no final closing and not held: `input_version - balance_moves` tells whether anything else was. Who moves the one
    without the other says "something else", so that to forget it is safe.
    `booked` is the newest booked balance, `closing` the newest final one; `gaps_to` the last day searched for gaps.
    """

    __tablename__ = "account_states"
    __table_args__ = (
        CheckConstraint(one_of("status", AccountStatus), "status"),
        # The stalest balance of each bank is one step into this index.
        Index(None, "bank", "booked_as_of"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True, foreign_key="accounts.account_no")
    bank: str
    input_version: int = large(default=1)
    balance_moves: int = large(default=0, sa_column_kwargs={"server_default": "0"})
    status: str = AccountStatus.UNKNOWN.value
    status_as_of: datetime | None = None
    booked_fen: int | None = fen(default=None)
    booked_kind: str | None = None
    booked_day: date | None = None
    booked_as_of: datetime | None = None
    booked_fetched_at: datetime | None = None
    booked_final: bool | None = None
    closing_fen: int | None = fen(default=None)
    closing_kind: str | None = None
    closing_day: date | None = None
    closing_as_of: datetime | None = None
    closing_fetched_at: datetime | None = None
    closing_final: bool | None = None
    held_fen: int | None = fen(default=None)
    held_kind: str | None = None
    held_day: date | None = None
    held_as_of: datetime | None = None
    held_fetched_at: datetime | None = None
    held_final: bool | None = None
    available_fen: int | None = fen(default=None)
    available_kind: str | None = None
    available_day: date | None = None
    available_as_of: datetime | None = None
    available_fetched_at: datetime | None = None
    available_final: bool | None = None
    covered_from: date | None = None
    covered_to: date | None = None
    gaps_to: date | None = None
    last_answer_at: datetime | None = None
    last_refusal: str | None = None
    refusals_in_a_row: int = large(default=0)


_INSTITUTION = {
    "uscc": str, "name": str, "kind": str, "district": str, "grid": str, "licence_no": str,
    "licence_expires_on": date, "status": str, "policy": str,
}
_ACCOUNT = {
    "account_no": str, "uscc": str, "bank": str, "connector": str, "currency": str, "purpose": str, "mode": str,
    "opened_on": date, "external_id": str,
}
INSTITUTION_COLUMNS = tuple(_INSTITUTION)
"""The cells of an institution, in this order."""
ACCOUNT_COLUMNS = tuple(_ACCOUNT)
"""The cells that `account_reader` reads, in this order."""

# Another holder or purpose: what lies in the account counts elsewhere. A new one has no statement yet.
_HOLDERS_CHANGED = """
    SELECT h.uscc, :ever AS day FROM (
        SELECT a.uscc FROM incoming_accounts i JOIN accounts a ON a.account_no = i.account_no
        WHERE a.uscc IS DISTINCT FROM i.uscc OR a.purpose <> i.purpose OR a.opened_on IS DISTINCT FROM i.opened_on
        UNION SELECT i.uscc FROM incoming_accounts i LEFT JOIN accounts a ON a.account_no = i.account_no
        WHERE a.account_no IS NULL OR a.uscc IS DISTINCT FROM i.uscc OR a.purpose <> i.purpose
    ) AS h WHERE h.uscc IS NOT NULL
"""
_PURPOSES = {str(purpose): purpose for purpose in Purpose}
_MODES = {str(mode): mode for mode in Mode}


def save_institutions(session: Session, items: Iterable[Institution], *, now: datetime) -> int:
    """Keep institutions, the last of a repeated code winning; return how many are new or changed.

    The accounts of a changed institution are due for a check: another district can mean another floor.
    """
    rows = {
        item.uscc: (
            item.uscc, item.name, item.kind and item.kind.value, item.district, item.grid, item.licence_no,
            item.licence_expires_on, item.status.value, item.policy,
        )
        for item in items
    }
    lock_banks(session)
    with staged(session, "incoming_institutions", _INSTITUTION, rows.values()):
        # Another place or kind can mean another fee cap.
        mark_where(
            session, "SELECT n.uscc, :ever AS day FROM incoming_institutions i JOIN institutions n ON n.uscc = i.uscc"
            " WHERE n.district IS DISTINCT FROM i.district OR n.kind IS DISTINCT FROM i.kind"
            " OR n.policy IS DISTINCT FROM i.policy", ever=EVER,
        )
        changed = _merge(session, "institutions", "uscc", _INSTITUTION, now)
    if changed:
        run(session, "UPDATE register_version SET version = version + 1")
    _touch_accounts(session, "a.uscc", changed)
    # Another district or policy can mean another law for its contracts.
    run(session, "UPDATE contract_laws SET stale = true WHERE uscc IN EACH(:changed)", changed=changed)
    return len(changed)


def save_accounts(session: Session, items: Iterable[Account], *, now: datetime) -> int:
    """Keep accounts, the last of a repeated number winning; return how many are new or changed.

    Raises UsageError if a known account comes with another currency: its amounts would change their meaning.
    """
    rows = {
        item.account_no: (
            item.account_no, item.uscc, item.bank, item.connector, item.currency, item.purpose.value, item.mode.value,
            item.opened_on, item.external_id,
        )
        for item in items
    }
    lock_banks(session, [row[2] for row in rows.values()])
    with staged(session, "incoming_accounts", _ACCOUNT, rows.values()):
        _refuse_other_currency(session)
        mark_where(session, _HOLDERS_CHANGED, ever=EVER)
        changed = _merge(session, "accounts", "account_no", _ACCOUNT, now)
    _open_states(session, changed)
    return len(changed)


def record_institutions(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep institutions given as (line, cells of INSTITUTION_COLUMNS), no code twice."""
    items = {line: _institution(cells, cells[6]) for line, *cells in rows}
    given = [one.uscc for one in items.values()]
    known = {one.uscc: one for one in _institutions(session, "uscc IN EACH(:given)", given=given)}
    return _arrived(
        [one.uscc for one in items.values() if one.uscc in known and known[one.uscc] != one],
        total=save_institutions(session, items.values(), now=now),
    )


def record_accounts(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep accounts given as (line, cells of ACCOUNT_COLUMNS), no number twice; what does not fit is left out and said.

    An institution must be known, and a known account keeps its currency: its amounts would change their meaning.
    """
    read = account_reader(None)
    items = {line: read(cells) for line, *cells in rows}
    known = {one.account_no: one for one in accounts(session, account_nos=[one.account_no for one in items.values()])}
    holders_known = {
        found.uscc for found in _institutions(
            session, "uscc IN EACH(:given)", given=sorted({one.uscc for one in items.values() if one.uscc is not None})
        )
    }
    faults = []
    for line, one in items.items():
        before = known.get(one.account_no)
        if one.uscc is not None and one.uscc not in holders_known:
            faults.append(RowFault(line, "uscc", one.uscc, "no such institution: import it first"))
        elif before is not None and before.currency != one.currency:
            reason = f"this account is kept in {before.currency}, and that cannot become {one.currency}"
            faults.append(RowFault(line, "currency", one.currency, reason))
    good = [one for line, one in items.items() if line not in {fault.line for fault in faults}]
    changed = [one.account_no for one in good if one.account_no in known and known[one.account_no] != one]
    return _arrived(changed, total=save_accounts(session, good, now=now), faults=faults)


def accounts(
    session: Session, *, bank: str | None = None, account_nos: Sequence[str] | None = None,
    connector: str | None = None, uscc: str | None = None,
) -> list[Account]:
    """The accounts that fit all that is asked, by number."""
    asked: dict[str, Any] = {"bank": bank, "connector": connector, "uscc": uscc}
    given = {name: value for name, value in asked.items() if value is not None}
    where = [f"a.{name} = :{name}" for name in given]
    if account_nos is not None:
        where.append("a.account_no IN EACH(:account_nos)")
        given["account_nos"] = account_nos
    rows = run(
        session,
        f"SELECT {account_cells('a')} FROM accounts a WHERE {' AND '.join(where) or 'true'} ORDER BY a.account_no",
        **given,
    )
    return list(map(account_reader(Reader(session)), rows))


def account(session: Session, account_no: str) -> Account | None:
    """One account."""
    return next(iter(accounts(session, account_nos=[account_no])), None)


def institutions(session: Session, *, usccs: Collection[str] | None = None) -> list[Institution]:
    """All institutions, or those with these codes, by code."""
    if usccs is None:
        return _institutions(session, "true")
    return _institutions(session, "uscc IN EACH(:usccs)", usccs=sorted(usccs))


def holders(session: Session, account_nos: Sequence[str]) -> list[Institution]:
    """The institutions that hold these accounts, by code."""
    return _institutions(
        session, "uscc IN (SELECT a.uscc FROM accounts a WHERE a.account_no IN EACH(:account_nos))",
        account_nos=account_nos,
    )


def institution(session: Session, uscc: str) -> Institution | None:
    """One institution."""
    return next(iter(_institutions(session, "uscc = :uscc", uscc=uscc)), None)


def known_banks(session: Session) -> list[str]:
    """The banks that hold an account, by name."""
    return [bank for (bank,) in run(session, "SELECT DISTINCT bank FROM accounts ORDER BY bank")]


def lock_banks(session: Session, banks: Iterable[str] | None = None) -> None:
    """Be the only one who writes the states of these banks' accounts (None: of all) until the transaction ends.

    Always taken in the order of the names, so that two writers queue instead of waiting for each other. SQLite has
    one writer anyway; on PostgreSQL a lock a bank is a hundred times cheaper than one on each account.
    """
    if is_sqlite(session):
        return
    for bank in sorted(set(known_banks(session) if banks is None else banks)):
        run(session, "SELECT pg_advisory_xact_lock(hashtext('escrow_monitor.bank'), hashtext(:bank))", bank=bank)


def lock_states(session: Session, account_nos: Sequence[str], *, booked: Sequence[str] = ()) -> set[str]:
    """Be the only one who writes these accounts' states until the transaction ends; return those that are known.

    `booked` are those of which entries come: an entry may be the other end of a transfer from another account of the
    same institution, so that the banks of these are locked too, all at once and in order.
    """
    keys = sorted(set(account_nos))
    known = set(texts(session, "SELECT account_no FROM account_states WHERE account_no IN EACH(:keys)", keys=keys))
    if is_sqlite(session):
        return known
    banks = set(texts(session, "SELECT DISTINCT bank FROM account_states WHERE account_no IN EACH(:keys)", keys=keys))
    if booked:
        banks.update(bank for (bank,) in fetch(
            session,
            "SELECT DISTINCT b.bank FROM accounts a JOIN accounts b ON b.uscc = a.uscc"
            " WHERE a.account_no IN EACH(:booked)", booked=sorted(set(booked)),
        ))
    lock_banks(session, banks)
    return known


def make_due(session: Session, account_nos: Iterable[str]) -> None:
    """Say that something new is known of these accounts, for the next check. Their states must be ours to write."""
    keys = sorted(set(account_nos))
    if keys:
        run(
            session,
            "UPDATE account_states SET input_version = input_version + 1 WHERE account_no IN EACH(:keys)", keys=keys,
        )


def account_cells(alias: str) -> str:
    """The columns of an account in a SELECT, for `account_reader`."""
    return ", ".join(f"{alias}.{column}" for column in ACCOUNT_COLUMNS)


def account_reader(reader: Reader | None) -> Callable[[Sequence[Any]], Account]:
    """Return what makes an Account of a row that begins with the cells of `account_cells`; None: its days are dates."""
    day: Callable[[Any], date | None] = _as_it_is if reader is None else reader.day

    def read(row: Sequence[Any]) -> Account:
        return Account(
            account_no=row[0], uscc=row[1], bank=row[2], connector=row[3], currency=row[4],
            purpose=_PURPOSES[row[5]], mode=_MODES[row[6]], opened_on=day(row[7]), external_id=row[8],
        )

    return read


def _institutions(session: Session, where: str, **values: str | Sequence[str]) -> list[Institution]:
    day = Reader(session).day
    rows = fetch(session, f"SELECT {', '.join(_INSTITUTION)} FROM institutions WHERE {where} ORDER BY uscc", **values)
    return [_institution(row, day(row[6])) for row in rows]


def _institution(row: Sequence[Any], licence_expires_on: date | None) -> Institution:
    return Institution(
        uscc=row[0], name=row[1], kind=InstitutionKind(row[2]) if row[2] else None, district=row[3], grid=row[4],
        licence_no=row[5], licence_expires_on=licence_expires_on, status=InstitutionStatus(row[7]), policy=row[8],
    )


def _as_it_is(cell: date | None) -> date | None:
    return cell


def _arrived(changed: list[str], *, total: int, faults: Sequence[RowFault] = ()) -> Arrived:
    return Arrived(
        faults=tuple(faults), new=total - len(changed), changed=len(changed),
        changed_keys=tuple(sorted(changed)[:KEYS_TOLD_MAX]),
    )


def _merge(session: Session, table: str, key: str, columns: Mapping[str, type], now: datetime) -> list[str]:
    """Insert or update from the staged rows what differs, and return its keys."""
    names, others = ", ".join(columns), [column for column in columns if column != key]
    changed = fetch(
        session,
        f"INSERT INTO {table} ({names}, recorded_at, changed_at)"
        f" SELECT {names}, :now, :now FROM incoming_{table} WHERE true"
        f" ON CONFLICT ({key}) DO UPDATE SET changed_at = :now, "
        + ", ".join(f"{column} = excluded.{column}" for column in others)
        + " WHERE " + " OR ".join(f"{table}.{column} IS DISTINCT FROM excluded.{column}" for column in others)
        + f" RETURNING {key}",
        now=now,
    )
    return [found for (found,) in changed]


def _open_states(session: Session, account_nos: list[str]) -> None:
    """Give new accounts their state and standing; the others are due for a check."""
    fresh = fetch(
        session,
        "INSERT INTO account_states (account_no, bank, input_version, status, refusals_in_a_row)"
        " SELECT account_no, bank, 1, 'unknown', 0 FROM accounts WHERE account_no IN EACH(:account_nos)"
        " ON CONFLICT (account_no) DO NOTHING RETURNING account_no", account_nos=account_nos,
    )
    opened = {account_no for (account_no,) in fresh}
    run(
        session,
        "INSERT INTO account_standings (account_no, district, standing, required_complete, findings, checked_version)"
        " SELECT a.account_no, i.district, 'unknown', false, '[]', 0 FROM accounts a"
        " LEFT JOIN institutions i ON i.uscc = a.uscc WHERE a.account_no IN EACH(:account_nos)",
        account_nos=list(opened),
    )
    _touch_accounts(session, "a.account_no", [number for number in account_nos if number not in opened])


def _touch_accounts(session: Session, column: str, keys: list[str]) -> None:
    """Make the accounts due, and carry the bank and district that the figures group by."""
    run(
        session,
        "UPDATE account_states SET input_version = input_version + 1, bank = a.bank FROM accounts a"
        f" WHERE a.account_no = account_states.account_no AND {column} IN EACH(:keys)", keys=keys,
    )
    run(
        session,
        "UPDATE account_standings SET district = i.district FROM accounts a LEFT JOIN institutions i ON i.uscc = a.uscc"
        f" WHERE a.account_no = account_standings.account_no AND {column} IN EACH(:keys)", keys=keys,
    )


def _refuse_other_currency(session: Session) -> None:
    found = run(
        session,
        "SELECT a.account_no, a.currency, i.currency FROM accounts a"
        " JOIN incoming_accounts i ON i.account_no = a.account_no WHERE i.currency <> a.currency",
    ).first()
    if found is not None:
        raise UsageError(f"account {found[0]} is kept in {found[1]}: its currency cannot become {found[2]}")

