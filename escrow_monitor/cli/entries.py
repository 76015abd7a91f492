"""The booked entries of an account, with what reverses what and which are transfers between own accounts."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from escrow_monitor.cli.output import print_json, print_table, warn
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.cli.frame import Frame
    from escrow_monitor.domain.entry_links import EntryKey, EntryLink
    from escrow_monitor.domain.statements import Entry

ENTRIES_SHOWN_MAX = 1_000
_ROLES = {("reversal", True): "reverses", ("reversal", False): "reversed_by", ("own_transfer", True): "transfer_to",
          ("own_transfer", False): "transfer_from"}
_WORDS = {
    "reverses": ("冲正 {on} 的一笔", "reverses one of {on}"),
    "reversed_by": ("已于 {on} 被冲正", "reversed on {on}"),
    "transfer_to": ("转入本机构账户 {account}（{on}）", "to own account {account}, {on}"),
    "transfer_from": ("来自本机构账户 {account}（{on}）", "from own account {account}, {on}"),
}


def show_entries(
    frame: Frame, account_no: str, *, days_from: date | None, days_to: date | None, as_json: bool
) -> None:
    """Print the entries that count, newest first."""
    from escrow_monitor.records.accounts import account
    from escrow_monitor.records.bank.links import entry_links, unclear_reversals
    from escrow_monitor.records.bank.statements import stored_entries

    if days_from is not None and days_to is not None and days_to < days_from:
        raise UsageError(f"--to {days_to} is before --from {days_from}")
    with frame.app() as app, app.database.read() as session:
        known = account(session, account_no)
        found = stored_entries(
            session, account_no, days_from=days_from, days_to=days_to, limit=ENTRIES_SHOWN_MAX + 1
        )
        links = entry_links(session, account_no, days_from=days_from, days_to=days_to)
        unclear = unclear_reversals(session, account_no)
    if known is None:
        raise UsageError(f"account {account_no} is not known: see accounts list")
    if len(found) > ENTRIES_SHOWN_MAX:
        warn(f"only the newest {ENTRIES_SHOWN_MAX} entries are shown: choose days with --from and --to")
        del found[ENTRIES_SHOWN_MAX:]
    if as_json:
        print_json([_entry_json(key, entry, links.get(key), is_unclear=key in unclear) for key, entry in found])
        return
    print_table(
        ("booked", f"amount {known.currency}", "reference", "text", "mark"),
        [
            (entry.booked_on, entry.amount.text, entry.bank_ref, entry.text,
             _mark(frame, key, entry, links.get(key), is_unclear=key in unclear))
            for key, entry in found
        ],
    )


def _entry_json(key: EntryKey, entry: Entry, link: EntryLink | None, *, is_unclear: bool) -> dict[str, object]:
    """An entry as JSON; `link` says what it belongs to and why that is believed, null where nothing is known."""
    return {
        "booked_on": entry.booked_on.isoformat(),
        "value_on": None if entry.value_on is None else entry.value_on.isoformat(),
        "amount": entry.amount.text,
        "amount_fen": entry.amount.minor_units,
        "currency": entry.amount.currency,
        "bank_ref": entry.bank_ref,
        "text": entry.text,
        "reversal": entry.reversal,
        "reversal_unclear": is_unclear,
        "link": None if link is None else {
            "role": _role(key, link), "account_no": _other(key, link)[0],
            "booked_on": _other(key, link)[1].isoformat(), "basis": link.basis.value,
        },
    }


def _mark(frame: Frame, key: EntryKey, entry: Entry, link: EntryLink | None, *, is_unclear: bool) -> str:
    if link is not None:
        account_no, on, _ = _other(key, link)
        zh, en = _WORDS[_role(key, link)]
        return frame.pick(zh=zh, en=en).format(account=account_no, on=on)
    if is_unclear:
        return frame.pick(zh="冲正：可能对应多笔，未关联", en="reversal: several entries fit, none is linked")
    return frame.pick(zh="冲正：未找到原笔", en="reversal: of no entry we know") if entry.reversal else ""


def _role(key: EntryKey, link: EntryLink) -> str:
    return _ROLES[link.kind.value, link.one == key]


def _other(key: EntryKey, link: EntryLink) -> EntryKey:
    return link.other if link.one == key else link.one
