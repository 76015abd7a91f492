"""Change the law that is held to: a pack is proposed as a file, and another person puts it in force.

    a TOML file --read as by the program--> a proposal in the audit chain --another person--> a file of the folder

A proposal is an entry of the chain and nothing else: what was proposed, by whom and what became of it, nobody can
change afterwards. The file that it replaces stays beside the new one, under a name that is not loaded.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from alerts.decisions import person
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.clauses import Pack
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook, parse_pack
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.shortfall import Compared, Why, floor_state
from escrow_monitor.errors import PolicyError, UsageError
from escrow_monitor.logs import log
from escrow_monitor.policies import PACK_BYTES_MAX
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.search import AskedAudit
from escrow_monitor.records.positions import due_count, positions_due

PROPOSED, ACCEPTED, WITHDRAWN = "policy.proposed", "policy.accepted", "policy.withdrawn"
NOTE_CHARACTERS_MAX = 500
PROPOSALS_MAX = 200
SHOWN_BELOW_MAX = 200
POSITIONS_AT_ONCE = 2_000

Progress = Callable[[int, int | None], None]


class ChangeRefusal(StrEnum):
    """Why a change is not made. Closed: shown by these words."""

    NO_FOLDER = "no_folder"
    NOT_OURS = "not_ours"
    NO_NOTE = "no_note"
    SAME_AS_NOW = "same_as_now"
    NOT_PROPOSED = "not_proposed"
    SAME_PERSON = "same_person"


WORDS: Mapping[ChangeRefusal, Mapping[str, str]] = {
    ChangeRefusal.NO_FOLDER: {
        "zh": "没有配置政策文件夹：请在配置文件中设置 [policies] folders = [\"policies\"]，并建立该文件夹",
        "en": "no policy folder is configured: set [policies] folders = [\"policies\"] and make that folder",
    },
    ChangeRefusal.NOT_OURS: {
        "zh": "这个编号的政策随程序发布，或在别的文件夹里，不能在此替换：请用新的编号，并以 replaces 替代其条款",
        "en": "the pack of this id comes with the program or stands in another folder: take an id of its own, and let"
              " its clauses say what they replace",
    },
    ChangeRefusal.NO_NOTE: {"zh": "请写明更改的理由（不超过 500 字）", "en": "say why, in at most 500 characters"},
    ChangeRefusal.SAME_AS_NOW: {"zh": "与现行文件完全相同", "en": "this is the file that is there now"},
    ChangeRefusal.NOT_PROPOSED: {
        "zh": "这项更改已经处理过，或不存在", "en": "there is no such proposal, or it is dealt with already",
    },
    ChangeRefusal.SAME_PERSON: {"zh": "提出人与复核人是同一人", "en": "whoever proposed it cannot confirm it"},
}


class ChangeRefused(UsageError):
    """This change of a policy is not made."""

    def __init__(self, reason: ChangeRefusal) -> None:
        super().__init__(WORDS[reason]["en"])
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pack that somebody wants to be in force. `settled` is what became of it, None while it waits."""

    seq: int
    at: datetime
    by: str
    pack_id: str
    text: str
    sha256: str
    before_sha256: str | None
    note: str
    settled: str | None = None
    settled_by: str | None = None

    def is_by(self, who: str) -> bool:
        """Whether the person behind a credential proposed it, whichever way they came."""
        return person(self.by).casefold() == person(who).casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """An account that a change puts below its floor. `before` is None where its floor was not known."""

    account_no: str
    uscc: str
    name: str
    before: Money | None
    after: Money
    balance: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change of policies does to the floors of today.

    `touched` accounts have other clauses than before; of `unknown` the floors or the balance cannot be compared.
    The sums, by currency in fen, are over the others. `falls` lists the first of `falls_count`.
    """

    accounts: int
    touched: int
    unknown: int
    before_fen: Mapping[str, int]
    after_fen: Mapping[str, int]
    falls_count: int
    falls: Sequence[Fall]
    rises_count: int


def read_pack(content: bytes, *, where: str) -> Pack:
    """A pack as the program would read it. Raises PolicyError."""
    if len(content) > PACK_BYTES_MAX:
        raise PolicyError(f"{where}: {len(content)} bytes are too many for a policy pack (at most {PACK_BYTES_MAX})")
    try:
        return parse_pack(tomllib.loads(content.decode("utf-8-sig")), where=where)
    except UnicodeDecodeError as error:
        raise PolicyError(f"{where}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{where}: is not TOML: {error}") from error


def with_pack(book: PolicyBook, pack: Pack) -> PolicyBook:
    """The policies with this pack in the place of the one of its id. Raises PolicyError where they do not fit."""
    return PolicyBook([*(each for each in book.packs.values() if each.id != pack.id), pack])


def propose(
    database: Database, *, content: bytes, filename: str, note: str, folder: Path | None, book: PolicyBook, by: str,
    now: datetime,
) -> Proposal:
    """The first pair of eyes. Raises PolicyError for a file that is no pack, ChangeRefused."""
    pack = read_pack(content, where=filename)
    with_pack(book, pack)
    before = text_now(folder, book, pack.id)
    if not note.strip() or len(note) > NOTE_CHARACTERS_MAX:
        raise ChangeRefused(ChangeRefusal.NO_NOTE)
    text = content.decode("utf-8-sig")
    if text == before:
        raise ChangeRefused(ChangeRefusal.SAME_AS_NOW)
    payload = {
        "pack": pack.id, "sha256": _digest(text), "before_sha256": None if before is None else _digest(before),
        "note": note.strip(), "text": text,
    }
    with database.write() as session:
        head = audit.append(session, kind=PROPOSED, actor=by, now=now, payload=payload)
        found = proposal(session, head.seq)
    log(__name__).info("policy.proposed", pack=pack.id, by=by, seq=head.seq)
    assert found is not None  # noqa: S101 - it was written a moment ago
    return found


def accept(database: Database, seq: int, *, folder: Path | None, book: PolicyBook, by: str, now: datetime) -> Path:
    """The second pair of eyes: write the file. Raises ChangeRefused, and PolicyError where it fits no more."""
    with database.write() as session:
        audit.lock_chain(session)
        found = _waiting(session, seq)
        if found.is_by(by):
            raise ChangeRefused(ChangeRefusal.SAME_PERSON)
        pack = read_pack(found.text.encode(), where=f"{found.pack_id}.toml")
        with_pack(book, pack)
        file = file_of(folder, book, pack.id)
        audit.append(session, kind=ACCEPTED, actor=by, now=now, payload={
            "proposal": seq, "pack": pack.id, "sha256": found.sha256, "file": file.name,
        })
        _put(file, found.text, kept_as=f"{file.name}.before-{seq}")
    log(__name__).info("policy.accepted", pack=pack.id, by=by, seq=seq, file=file.name)
    return file


def withdraw(database: Database, seq: int, *, by: str, now: datetime) -> None:
    """A proposal is not to be. Raises ChangeRefused."""
    with database.write() as session:
        audit.lock_chain(session)
        found = _waiting(session, seq)
        audit.append(session, kind=WITHDRAWN, actor=by, now=now, payload={"proposal": seq, "pack": found.pack_id})
    log(__name__).info("policy.withdrawn", pack=found.pack_id, by=by, seq=seq)


def proposals(session: Session, *, limit: int = 20) -> list[Proposal]:
    """The newest proposals, the newest first."""
    settled = _settled(session)
    found = audit_search.search(session, AskedAudit(kind=PROPOSED), limit=limit).records
    return [_proposal(record, settled) for record in found]


def proposal(session: Session, seq: int) -> Proposal | None:
    """The proposal that is this entry of the chain."""
    record = audit_search.entry(session, seq)
    if record is None or record.kind != PROPOSED:
        return None
    return _proposal(record, _settled(session))


def text_now(folder: Path | None, book: PolicyBook, pack_id: str) -> str | None:
    """What stands in the pack's file now; None where there is none yet. Raises ChangeRefused."""
    file = file_of(folder, book, pack_id)
    return file.read_text("utf-8-sig") if file.is_file() else None


def file_of(folder: Path | None, book: PolicyBook, pack_id: str) -> Path:
    """Where a pack stands, or would. Raises ChangeRefused."""
    if folder is None or not folder.is_dir():
        raise ChangeRefused(ChangeRefusal.NO_FOLDER)
    known = book.packs.get(pack_id)
    if known is None:
        return folder / f"{re.sub(r'[^a-z0-9._-]', '-', pack_id)}.toml"
    if Path(known.where).parent != folder:
        raise ChangeRefused(ChangeRefusal.NOT_OURS)
    return Path(known.where)


def difference(before: str | None, after: str) -> list[tuple[str, str]]:
    """Both texts line by line: (`+`, `-` or a space, the line), what is alike left out but for its edges."""
    lines = difflib.unified_diff((before or "").splitlines(), after.splitlines(), lineterm="", n=3)
    return [(line[:1], line[1:]) for line in lines if not line.startswith(("---", "+++"))]


def effect(
    session: Session, *, before: PolicyBook, after: PolicyBook, now: datetime, progress: Progress | None = None
) -> Effect:
    """Hold every account against both; who is below only the new one falls."""
    day = now.astimezone(ZONE).date()
    months = max(before.charge_months_max, after.charge_months_max)
    total = due_count(session, now=now, policy_version=after.version, everything=True)
    counting = _Counting(now)
    for chunk in positions_due(
        session, now=now, policy_version=after.version, days_from=day, large_debit_fen_min=None, charge_months=months,
        everything=True, chunk=POSITIONS_AT_ONCE,
    ):
        for position in (due.position for due in chunk):
            holder, account = position.institution, position.account
            counting.add(
                position, before.effective(institution=holder, account=account, on=day),
                after.effective(institution=holder, account=account, on=day),
            )
        if progress is not None:
            progress(counting.accounts, total)
    return counting.effect()


class _Counting:
    """Adds up what a change does, account by account."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.accounts = self._touched = self._unknown = self._rises = self._falls_count = 0
        self._before: dict[str, int] = {}
        self._after: dict[str, int] = {}
        self._falls: list[Fall] = []
        self._alike: dict[tuple[int, int], tuple[bool, EffectivePolicy, EffectivePolicy]] = {}

    def add(self, position: Position, old: EffectivePolicy, new: EffectivePolicy) -> None:
        self.accounts += 1
        if self._same(old, new):
            return
        self._touched += 1
        was, now = _state(position, old, self._now), _state(position, new, self._now)
        if now is None or was is None:
            self._unknown += 1
        else:
            currency = now.currency
            self._before[currency] = self._before.get(currency, 0) + was.floor_fen
            self._after[currency] = self._after.get(currency, 0) + now.floor_fen
            self._rises += was.is_below and not now.is_below
        # Who could not be told to hold enough and is now sure not to falls as well.
        if now is not None and now.is_below and (was is None or not was.is_below):
            self._falls_count += 1
            if len(self._falls) < SHOWN_BELOW_MAX:
                self._falls.append(_fall(position, was, now))

    def effect(self) -> Effect:
        return Effect(
            accounts=self.accounts, touched=self._touched, unknown=self._unknown, before_fen=self._before,
            after_fen=self._after, falls_count=self._falls_count, falls=tuple(self._falls), rises_count=self._rises,
        )

    def _same(self, old: EffectivePolicy, new: EffectivePolicy) -> bool:
        """Whether both give everybody the same floor. There are few pairs; kept alive, so that each stays itself."""
        pair = (id(old), id(new))
        if pair not in self._alike:
            same = old.floor_clauses == new.floor_clauses and old.missing_pack == new.missing_pack
            self._alike[pair] = (same, old, new)
        return self._alike[pair][0]


class _State(NamedTuple):
    """A floor, 0 where none is asked for, and whether the balance is below it."""

    floor_fen: int
    balance_fen: int
    currency: str
    is_below: bool


def _state(position: Position, policy: EffectivePolicy, now: datetime) -> _State | None:
    """None where it cannot be said."""
    try:
        found = floor_state(position, policy, now)
    except CalendarUnknown:
        return None
    if isinstance(found, Compared):
        return _State(
            found.floor.minor_units, found.balance.minor_units, found.floor.currency, found.below_since is not None
        )
    if found.why is Why.NO_FLOOR and found.balance is not None:
        return _State(0, found.balance.minor_units, found.balance.currency, is_below=False)
    return None


def _fall(position: Position, was: _State | None, now: _State) -> Fall:
    holder = position.institution
    return Fall(
        account_no=position.account.account_no, uscc="" if holder is None else holder.uscc,
        name="" if holder is None else holder.name,
        before=None if was is None else Money(was.floor_fen, now.currency),
        after=Money(now.floor_fen, now.currency), balance=Money(now.balance_fen, now.currency),
    )


def _waiting(session: Session, seq: int) -> Proposal:
    found = proposal(session, seq)
    if found is None or found.settled is not None:
        raise ChangeRefused(ChangeRefusal.NOT_PROPOSED)
    return found


def _settled(session: Session) -> dict[int, tuple[str, str]]:
    """What became of proposals, and by whom."""
    return {
        int(record.payload["proposal"]): (kind, record.actor)
        for kind in (ACCEPTED, WITHDRAWN)
        for record in audit_search.search(session, AskedAudit(kind=kind), limit=PROPOSALS_MAX).records
    }


def _proposal(record: audit.AuditRecord, settled: Mapping[int, tuple[str, str]]) -> Proposal:
    said = record.payload
    kind, by = settled.get(record.seq, (None, None))
    return Proposal(
        seq=record.seq, at=record.at, by=record.actor, pack_id=said["pack"], text=said["text"], sha256=said["sha256"],
        before_sha256=said["before_sha256"], note=said["note"], settled=kind, settled_by=by,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _put(file: Path, text: str, *, kept_as: str) -> None:
    """Write it whole or not at all. What was there stays beside it."""
    coming = file.with_name(f".{file.name}.coming")
    with coming.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    if file.is_file():
        kept = file.with_name(kept_as)
        kept.write_bytes(file.read_bytes())
    coming.replace(file)
