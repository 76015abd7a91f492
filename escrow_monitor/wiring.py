"""Puts the rooms together: settings in, an App out. Nothing is made before `assemble` is called."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from threading import Lock
from typing import TypedDict, Unpack

from alerts.channel import Channel
from escrow_monitor.banks.connector import BankConnector
from escrow_monitor.banks.connectors.statement_folder import StatementFolder
from escrow_monitor.banks.formats.csv_profile import Profile
from escrow_monitor.banks.profiles import profiles_of
from escrow_monitor.clock import Clock, SystemClock
from escrow_monitor.domain.calendar import WorkingCalendar, calendar_for
from escrow_monitor.domain.certificates import Certificate, CertificateState
from escrow_monitor.domain.figures import Figures
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.rules import (
    account_status,
    backup_late,
    bank_silent,
    calendar_ends,
    certificate_ends,
    closure_watch,
    corrected_statement,
    delivery_late,
    external_check,
    fee_cap,
    feed_gap,
    floor,
    freshness,
    large_outflow,
    late_top_up,
    outflow_cap,
    receipt_outside_escrow,
    reconciliation_open,
    refund_mismatch,
    refund_overdue,
    release_ahead,
    round_late,
)
from escrow_monitor.errors import UsageError
from escrow_monitor.metrics import Metrics
from escrow_monitor.policies import load_policies
from escrow_monitor.records import uploads, works
from escrow_monitor.records.bank.statement_files import Registration
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.seal_keys import SealKey, read_key
from escrow_monitor.records.figures import figures
from escrow_monitor.records.policy_notes import note_policies
from escrow_monitor.rounds import ROUNDS, channels
from escrow_monitor.rounds.bank_turn import BankTurn
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.deliver_alerts import deliver_alerts
from escrow_monitor.rounds.load_statements import load_statements
from escrow_monitor.rounds.perform import perform
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.rounds.reconcile import reconcile, reconcile_asked
from escrow_monitor.rounds.report import Progress, Report
from escrow_monitor.rounds.seal_audit import seal_audit
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.rounds.watch_controls import watch_controls
from escrow_monitor.rounds.watch_rounds import watch_rounds
from escrow_monitor.rounds.who_hears import routing_of, together_of
from escrow_monitor.settings import Settings
from escrow_monitor.settings.section import zone_of

RULE_NAMES = tuple(
    rule.RULE
    for rule in (
        floor, late_top_up, large_outflow, outflow_cap, freshness, feed_gap, corrected_statement, external_check,
        account_status, round_late, delivery_late, backup_late, calendar_ends, bank_silent,
        certificate_ends, release_ahead, receipt_outside_escrow, reconciliation_open,
        refund_overdue, refund_mismatch, fee_cap, closure_watch,
    )
)
GARBAGE_VALUES = 100_000
"""After how many new values the collector looks; its default of 700 cost a sixth of a sweep."""
ALL = "all"
"""The shard of a round that is not cut up."""


@dataclass(kw_only=True)
class App:
    """One assembled program: what every command, the daemon and the web stand on. Close it when done."""

    settings: Settings
    clock: Clock
    database: Database
    metrics: Metrics = field(init=False)
    claimant: str = "local"
    _making: Lock = field(init=False, repr=False, default_factory=Lock)
    _connectors: dict[str, BankConnector] = field(init=False, repr=False, default_factory=dict)
    _channels: dict[str, Channel] = field(init=False, repr=False, default_factory=dict)
    _met: dict[str, bytes] = field(init=False, repr=False, default_factory=dict)
    """The certificate (DER) that each bank showed since its last round."""
    _settled: set[str] = field(init=False, repr=False, default_factory=set)
    """What this process has brought in line with its settings already."""

    def __post_init__(self) -> None:
        self.metrics = Metrics(
            snapshot=self._figures,
            now=self.clock.now,
            rounds=ROUNDS,
            rules=RULE_NAMES,
        )

    @cached_property
    def policies(self) -> PolicyBook:
        """The packs that ship with the program and those of the configured folders."""
        return policies_of(self.settings)

    @cached_property
    def statement_profiles(self) -> Mapping[str, Profile]:
        """The profiles by which CSV and XLSX statements are read."""
        return profiles_of(self.settings.statement_profiles)

    @cached_property
    def channels(self) -> Mapping[str, Channel]:
        """The channels that deliveries go to, by name."""
        return {name: self.channel(name) for name in self.settings.channels}

    def channel(self, name: str) -> Channel:
        """One channel; made on first use, so that one whose secret is missing stops no other."""
        with self._making:
            if name not in self._channels:
                self._channels[name] = make_channel(self.settings, name)
            return self._channels[name]

    def connector(self, bank: str) -> BankConnector:
        """The connector of one bank; made and connected on first use, so that a bank whose certificate or secret is
        missing stops nobody else."""
        # Here: what speaks HTTP to banks takes a third of a second to load, and most commands ask none.
        from escrow_monitor.banks.making import make_connector

        with self._making:
            if bank not in self._connectors:
                self._connectors[bank] = make_connector(
                    self.settings, bank, self.clock, met=partial(self._met.__setitem__, bank)
                )
            return self._connectors[bank]

    @cached_property
    def patience(self) -> Patience:
        """How long conditions must hold or be absent, from the settings."""
        chosen = self.settings.alerts
        return Patience(
            open_after={rule: timedelta(seconds=s) for rule, s in chosen.open_after_seconds.items()},
            resolve_after={rule: timedelta(seconds=s) for rule, s in chosen.resolve_after_seconds.items()},
        )

    @cached_property
    def seal_key(self) -> SealKey | None:
        """The key that seals the audit chain; None where none is configured."""
        chosen = self.settings.audit
        text = self.settings.secret(chosen.key, chosen.key_file, what="audit.key_file")
        return None if text is None else read_key(text, what="audit.key" if chosen.key else "audit.key_file")

    def _hash_as_configured(self) -> None:
        """Bring the audit chain to the configured hash, once a process."""
        if "hash" in self._settled:
            return
        algorithm = self.settings.audit.algorithm
        with self.database.read() as session:
            is_so = audit.algorithm_of(session) == algorithm
        if not is_so:
            with self.database.write() as session:
                audit.use_algorithm(session, algorithm, now=self.clock.now())
        self._settled.add("hash")

    def _note_policies(self) -> None:
        """Have the audit chain say which policies hold, once a process."""
        if "policies" in self._settled:
            return
        with self.database.write() as session:
            note_policies(
                session, version=self.policies.version, packs=self.policies.versions(), now=self.clock.now()
            )
        self._settled.add("policies")

    @staticmethod
    def real_now() -> datetime:
        """The machine's time, also where the demo replays the past: leases, retries and heartbeats live in it."""
        return SystemClock().now()

    def shards(self, name: str) -> Sequence[str]:
        """What a round is cut into: banks, folders, channels, or one piece."""
        match name:
            case "pull-balances":
                return tuple(self.settings.banks)
            case "load-statements":
                return tuple(self.settings.folders)
            case "deliver-alerts":
                return tuple(self.settings.channels)
            case "seal-audit":
                return (ALL,) if self.settings.audit.key or self.settings.audit.key_file else ()
            case _:
                return (ALL,)

    def late_after(self) -> Mapping[str, timedelta]:
        """The rounds that must run here, each with how long after its last success it is late."""
        return {
            name: timedelta(seconds=seconds)
            for name, seconds in self.settings.schedule.late_after_seconds.items()
            if self.shards(name)
        }

    def perform(
        self, name: str, shard: str, scheduled_at: datetime, *, account_nos: Sequence[str] | None = None,
        usccs: Sequence[str] | None = None, progress: Progress | None = None,
    ) -> Report:
        """Do one round over one shard for one scheduled time, once; the run is recorded whatever happens.

        `progress` hears how far it is, where somebody watches.
        """
        if name not in ROUNDS:
            raise UsageError(f"there is no round {name!r}; the rounds are {', '.join(ROUNDS)}")
        self._hash_as_configured()
        return perform(
            name=name,
            shard=shard,
            scheduled_at=scheduled_at,
            now_of=self.clock.now,
            database=self.database,
            observe=self.metrics.round_finished,
            context={"bank": shard} if name == "pull-balances" else None,
            do=lambda: self._round(name, shard, scheduled_at, account_nos, usccs or None, progress),
        )

    def _round(
        self, name: str, shard: str, scheduled_at: datetime, account_nos: Sequence[str] | None,
        usccs: Sequence[str] | None, progress: Progress | None,
    ) -> Report:
        now = self.clock.now()
        told = _Told(
            database=self.database, channels=tuple(self.settings.channels), patience=self.patience,
            scheduled_at=scheduled_at, now=now,
        )
        match name:
            case "pull-balances":
                if shard not in self.settings.banks:
                    raise UsageError(f"no bank {shard!r} is configured: add [banks.{shard}]")
                return self._pull(shard, scheduled_at, account_nos, progress)
            case "load-statements":
                return self._load(shard, scheduled_at, progress)
            case "check-balances":
                self._note_policies()
                return check_balances(**told, policies=self.policies, account_nos=account_nos, progress=progress)
            case "reconcile":
                return reconcile(**told, policies=self.policies, usccs=usccs, progress=progress)
            case "watch-closure":
                return _watch_closure(**told, policies=self.policies, usccs=usccs, progress=progress)
            case "deliver-alerts":
                return self._deliver(shard, scheduled_at)
            case "seal-audit":
                return self._seal(scheduled_at)
            case _:
                self._forget_works()
                return watch_rounds(
                    **told,
                    calendars=calendars_of(self.policies),
                    late_after=self.late_after(),
                    certificates=self._own_certificates(),
                    tls_banks=tls_banks(self.settings),
                )

    def _forget_works(self) -> None:
        """Forget what long work came to and files that nobody confirmed, once they were kept long enough."""
        with self.database.write() as session:
            works.forget_old(session, now=self.real_now())
            uploads.forget_old(session, now=self.real_now())

    def _load(self, shard: str, scheduled_at: datetime, progress: Progress | None) -> Report:
        if shard not in self.settings.folders:
            raise UsageError(f"no folder {shard!r} is configured: add [folders.{shard}]")
        folder = self.settings.folders[shard]
        return load_statements(
            database=self.database,
            name=shard,
            zone=zone_of(folder.zone),
            scheduled_at=scheduled_at,
            folder=StatementFolder(folder=self.settings.path(folder.path), settle_seconds=folder.settle_seconds),
            registration=Registration(bank=folder.bank) if folder.register_accounts else None,
            format=folder.format,
            profiles=self.statement_profiles,
            now_of=self.clock.now,
            progress=progress,
        )

    def _deliver(self, shard: str, scheduled_at: datetime) -> Report:
        return deliver_alerts(
            database=self.database,
            channels={shard: self.channel(shard)} if shard in self.settings.channels else {},
            channel=shard,
            claimant=self.claimant,
            scheduled_at=scheduled_at,
            now_of=self.real_now,
            watch=self.metrics.delivered,
            routing=routing_of(self.settings, shard),
            together=together_of(self.settings, shard),
        )

    def _seal(self, scheduled_at: datetime) -> Report:
        if self.seal_key is None:
            raise UsageError("no key is configured to seal with: set audit.key_file")
        return seal_audit(
            database=self.database, key=self.seal_key, zone=zone_of(self.settings.schedule.zone),
            scheduled_at=scheduled_at, now=self.clock.now(),
        )

    def reconcile_asked(self, request_id: str, *, progress: Progress | None = None) -> bool:
        """Do a reconciliation that a person asked for. False: another process does it, or it is done."""
        return reconcile_asked(
            request_id, database=self.database, policies=self.policies, channels=tuple(self.settings.channels),
            patience=self.patience, now=self.clock.now(), progress=progress,
        )

    def watch_controls(self) -> Sequence[str]:
        """What the watchdog does: a sentence for each thing that is late; the alerts go out even if no round runs."""
        chosen = self.settings.watchdog
        watched = watch_controls(
            database=self.database,
            channels=tuple(self.settings.channels),
            patience=self.patience,
            late_after=self.late_after(),
            deliveries_late_after=timedelta(seconds=chosen.deliveries_late_after_seconds),
            backups=None if chosen.backups is None else self.settings.path(chosen.backups),
            backup_late_after=timedelta(seconds=chosen.backup_late_after_seconds),
            now=self.clock.now(),
        )
        if watched.deliveries_late:
            for channel in self.settings.channels:
                # Not through `perform`: the round that is late must not look as if it had run.
                self._round("deliver-alerts", channel, self.real_now(), None, None, None)
        return watched.late

    def _shown(self, bank: str) -> Certificate | None:
        from escrow_monitor.banks.certificates import certificate_of

        shown = self._met.pop(bank, None)
        return None if shown is None else certificate_of(shown)

    def _own_certificates(self) -> Sequence[CertificateState]:
        if not any(bank.cert_file or bank.ca_file for bank in self.settings.banks.values()):
            return ()  # nothing to read, and no X.509 library to load
        from escrow_monitor.banks.certificates import own_certificates

        return tuple(own_certificates(self.settings, now=self.clock.now()))

    def _pull(
        self, bank: str, scheduled_at: datetime, account_nos: Sequence[str] | None, progress: Progress | None
    ) -> Report:
        from escrow_monitor.banks.making import windows_of

        section, connector = self.settings.banks[bank], self.connector(bank)
        zone = zone_of(section.zone)
        turn = BankTurn(
            database=self.database,
            connector=connector,
            windows=windows_of(section),
            round="pull-balances",
            scheduled_at=scheduled_at,
            claimant=self.claimant,
            local_now=lambda: self.clock.now().astimezone(zone),
            real_now=self.real_now,
        )

        def goes_on(done: int, total: int | None) -> None:
            turn.check()
            if progress is not None:
                progress(done, total)

        return turn.ask(
            lambda: pull_balances(
                database=self.database,
                connector=connector,
                zone=zone,
                scheduled_at=scheduled_at,
                now_of=self.clock.now,
                watch=self.metrics.bank_pulled,
                account_nos=account_nos,
                shown=partial(self._shown, bank),
                progress=goes_on,
            )
        )

    def _figures(self) -> Figures:
        with self.database.read() as session:
            return figures(session)

    def close(self) -> None:
        """Close what was opened: connections to banks, then the database."""
        for connector in self._connectors.values():
            connector.close()
        for channel in self._channels.values():
            channel.close()
        self.database.close()


class _Told(TypedDict):
    """What every round that tells of alerts is given."""

    database: Database
    channels: tuple[str, ...]
    patience: Patience
    scheduled_at: datetime
    now: datetime


def _watch_closure(
    *, policies: PolicyBook, usccs: Sequence[str] | None, progress: Progress | None, **told: Unpack[_Told]
) -> Report:
    # Loaded here: arrays take a tenth of a second that no other round needs.
    from escrow_monitor.domain.closure.index import shipped_model
    from escrow_monitor.rounds.watch_closure import watch_closure

    return watch_closure(**told, policies=policies, model=shipped_model(), usccs=usccs, progress=progress)


def tls_banks(settings: Settings) -> Sequence[str]:
    """The configured banks that show us a certificate of their own."""
    return [name for name, bank in settings.banks.items() if bank.base_url.startswith("https:")]


def policies_of(settings: Settings) -> PolicyBook:
    """The packs that ship with the program and those of the configured folders."""
    chosen = settings.policies
    return load_policies([settings.path(folder) for folder in chosen.folders], examples=chosen.examples)


def calendars_of(policies: PolicyBook) -> Sequence[WorkingCalendar]:
    """The working-day calendars that the loaded packs lean on."""
    return [calendar_for(name) for name in sorted({pack.calendar for pack in policies.packs.values() if pack.calendar})]


def home_url_of(settings: Settings) -> str:
    """How readers reach us: as configured, else where the web listens."""
    host = f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host
    return settings.web.home_url or f"http://{host}:{settings.web.port}"


def make_channel(settings: Settings, name: str) -> Channel:
    """Build one configured channel."""
    # The machine's clock even where the demo replays the past: receivers refuse an old timestamp.
    return channels.make_channel(settings, name, home_url=home_url_of(settings), now_of=App.real_now)


def assemble(settings: Settings, *, clock: Clock | None = None, claimant: str | None = None) -> App:
    """Put a program together from its settings. The database is opened on first use."""
    # Rounds make hundreds of thousands of values that live to their end: scanning them again and again finds nothing.
    gc.set_threshold(GARBAGE_VALUES, 20, 100)
    return App(
        settings=settings,
        clock=clock or settings.make_clock(),
        database=Database(settings.database_url),
        claimant=claimant or settings.engine.executor_id,
    )


@contextmanager
def assembled(settings: Settings, *, clock: Clock | None = None, claimant: str | None = None) -> Iterator[App]:
    """`assemble`, closed at the end."""
    app = assemble(settings, clock=clock, claimant=claimant)
    try:
        yield app
    finally:
        app.close()
