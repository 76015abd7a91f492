"""The tables of what was heard: alerts, deliveries, silences and the keys of subscribers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from alerts.alert import Alert
from alerts.decisions import quiet_by
from alerts.feeds.item import TRANSITION_WORDS
from escrow_monitor.actions.table_export import Column, ExportTable, Kind, Row
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.delivery_log import LoggedDelivery, delivery_page
from escrow_monitor.records.alerts.pages import AlertPlace, alert_page, holder_names
from escrow_monitor.records.alerts.silences import KeptSilence, silences
from escrow_monitor.records.people import keys
from escrow_monitor.web.console import alerts, deliveries
from escrow_monitor.web.console.actors import names_of, who_did
from escrow_monitor.web.console.alert import why_of
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.tables import ROWS_A_PIECE, Asked, Taken, piecewise
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import scope_of

ALERTS = ExportTable(name="alerts", zh="预警", en="Alerts", columns=(
    Column("机构名称", "Institution"), Column("统一社会信用代码", "USCC"), Column("区划", "District"),
    Column("预警", "Alert"), Column("等级", "Level"), Column("结论", "Standing"), Column("原因", "Why"),
    Column("账户", "Account"), Column("银行", "Bank"), Column("状态", "Status"),
    Column("开始时间", "Since", Kind.INSTANT), Column("解除时间", "Resolved at", Kind.INSTANT),
    Column("数据截至", "As of", Kind.INSTANT), Column("人工处置", "Decided"), Column("处置人", "By"),
    Column("处置至", "Until", Kind.INSTANT), Column("备注", "Note"), Column("预警编号", "Alert id"),
))
DELIVERIES = ExportTable(name="deliveries", zh="发送记录", en="Deliveries", columns=(
    Column("序号", "Feed number", Kind.COUNT), Column("通道", "Channel"), Column("状态", "State"),
    Column("变化", "Transition"), Column("预警", "Alert"), Column("等级", "Level"), Column("原因", "Why it is told"),
    Column("发布时间", "Owed at", Kind.INSTANT), Column("办结时间", "Settled at", Kind.INSTANT),
    Column("下次尝试", "Next try", Kind.INSTANT), Column("尝试次数", "Tries", Kind.COUNT), Column("说明", "Why so"),
    Column("预警编号", "Alert id"), Column("发送编号", "Delivery id"),
))
SILENCES = ExportTable(name="silences", zh="静默", en="Silences", columns=(
    Column("状态", "State"), Column("范围", "Fits"), Column("理由", "Reason"), Column("含红色", "Red too"),
    Column("建立人", "Made by"), Column("复核人", "Confirmed by"), Column("开始", "From", Kind.INSTANT),
    Column("结束", "Until", Kind.INSTANT), Column("提前结束人", "Ended by"), Column("编号", "Id"),
))
SUBSCRIBERS = ExportTable(name="subscribers", zh="订阅密钥", en="Subscribers", columns=(
    Column("名称", "Name"), Column("状态", "State"), Column("订阅范围", "Hears"),
    Column("建立时间", "Made at", Kind.INSTANT), Column("到期", "Expires at", Kind.INSTANT),
    Column("吊销时间", "Revoked at", Kind.INSTANT), Column("密钥编号", "Key id"),
))
_YES = Sentence(zh="是", en="yes")


def tables(guard: Guard, ports: WebPorts) -> list[Taken]:
    """All of them, each for who may open its page."""
    whole = Gate(guard, ports, here="alerts", needs=Permission.OPERATIONS, whole=True)
    admin = Gate(guard, ports, here="alerts", needs=Permission.ADMIN, whole=True)
    return [
        Taken(path="/alerts", table=ALERTS, rows=_alerts),
        Taken(path="/deliveries", table=DELIVERIES, rows=_deliveries, gate=whole),
        Taken(path="/silences", table=SILENCES, rows=_silences, gate=whole),
        Taken(path="/subscriptions", table=SUBSCRIBERS, rows=_subscribers, gate=admin),
    ]


def _alerts(asked: Asked) -> Iterable[Row]:
    filters = alerts.filters_of(asked.request.query_params, scope_of(asked.who))
    words = asked.words

    def ask(after: AlertPlace | None) -> tuple[list[Row], AlertPlace | None]:
        with asked.ports.database.read() as session:
            places = alert_page(session, filters.asked, after=after, limit=ROWS_A_PIECE, now=asked.now)
            found = RecordsAlertBook(session).alerts([one.alert_id for one in places])
            holders = holder_names(session, sorted({one.labels.get("uscc", "") for one in found.values()} - {""}))
            people = names_of(session, {one.by for alert in found.values() for one in alert.decisions})
        who = partial(who_did, words, names=people)
        rows = [row(found[one.alert_id], holders.get(found[one.alert_id].labels.get("uscc", "")), who)
                for one in places]
        return rows, places[-1] if len(places) == ROWS_A_PIECE else None

    def row(one: Alert, holder: str | None, who: partial[str]) -> Row:
        labels, quiet = one.labels, quiet_by(one, now=asked.now)
        return (
            holder or labels.get("name"), labels.get("uscc"), labels.get("district"), words.name("rule", one.key.rule),
            words.name("level", one.severity), words.name("standing", one.standing), words.of(one.why),
            labels.get("account_no"), labels.get("bank"), words.name("alert_status", one.status), one.opened_at,
            one.resolved_at, one.as_of,
            *((None,) * 4 if quiet is None else
              (words.name("decision", quiet.kind), who(quiet.by), quiet.until, quiet.note)), one.alert_id,
        )

    return piecewise(ask, _same)


def _deliveries(asked: Asked) -> Iterable[Row]:
    filters = deliveries.filters_of(asked.request.query_params)
    words = asked.words

    def ask(after: str | None) -> tuple[list[LoggedDelivery], str | None]:
        with asked.ports.database.read() as session:
            found = delivery_page(
                session, limit=ROWS_A_PIECE, after=after or "", state=filters.state, channel=filters.channel or None
            )
        return found, found[-1].delivery_id if len(found) == ROWS_A_PIECE else None

    def row(one: LoggedDelivery) -> Row:
        state = "waits" if one.state == "due" and one.waits is not None else one.state.value
        return (
            one.seq, one.channel, words.name("delivery", state), TRANSITION_WORDS[one.transition][asked.lang],
            words.name("rule", one.rule), words.name("level", one.severity), words.of(one.why), one.created_at,
            one.settled_at, one.due_at, one.attempts, why_of(one, words, now=asked.now, zone=asked.ports.zone),
            one.alert_id, one.delivery_id,
        )

    return piecewise(ask, row)


def _silences(asked: Asked) -> Sequence[Row]:
    words = asked.words
    with asked.ports.database.read() as session:
        kept = silences(session)
        people = names_of(session, {
            by for one in kept for by in (one.silence.author, one.silence.confirmed_by, one.ended_by) if by
        })

    def who(actor: str | None) -> str | None:
        return None if actor is None else who_did(words, actor, names=people)

    def row(one: KeptSilence) -> Row:
        what = one.silence
        return (
            words.name("silence_state", what.state(asked.now)),
            " · ".join(f"{words.name('matcher', name)} {value}" for name, value in what.matchers.items()), what.reason,
            _YES if what.red else None, who(what.author), who(what.confirmed_by), what.starts_at, what.ends_at,
            who(one.ended_by), what.silence_id,
        )

    return [row(one) for one in kept]


def _subscribers(asked: Asked) -> Sequence[Row]:
    words = asked.words
    with asked.ports.database.read() as session:
        known = [one for one in keys.known(session) if one.scopes == {"feed"}]
    return [
        (
            one.name,
            words.name("key_state", "open" if one.opens_at(asked.now) else "revoked" if one.revoked_at else "expired"),
            " ".join(f"{name}={value}" for name, value in one.only.asked.items()), one.created_at, one.expires_at,
            one.revoked_at, one.key_id,
        )
        for one in known
    ]


def _same(row: Row) -> Row:
    return row
