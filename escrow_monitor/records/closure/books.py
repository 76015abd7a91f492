"""The columns of the closure watch that come from contracts, charges, lessons and complaints.

    lessons, charges, refunds  --by contract and day-->  running sums  --by institution and day-->  earned, owed, active

What happened under a contract before the first day counts for what is owed and active on it.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from escrow_monitor.domain.closure.series import NOTICES, Ints
from escrow_monitor.records.closure.frame import CURRENCY, Frame


def add_books(frame: Frame) -> None:
    """Fill the columns of lessons, charges, contracts, complaints and notices; `owed_fen` by contracts alone."""
    _add_moves(frame)
    frame.add(frame.fetch(_CONTRACTS), "signed", "lessons_sold", "fees_sold_fen")
    frame.add(frame.fetch(_CHARGES), "charges", "charged_fen")
    frame.add(frame.fetch(_COMPLAINTS), "complaints")
    for name, rows in _by_kind(frame.fetch(_NOTICES)).items():
        frame.add(rows, name)


def _add_moves(frame: Frame) -> None:
    steps = {name: np.zeros((len(frame.usccs), frame.days + 1), np.int64) for name in ("owed_fen", "active")}
    for part, rows in _by_kind(frame.fetch(_moves(frame.lite))).items():
        if part == "moved":
            inside = [row for row in rows if row[1] is not None]
            frame.add((row[:6] for row in inside), "taught", "counted", "deemed", "earned_fen")
            _step(frame, steps["owed_fen"], ((row[0], row[1], row[6]) for row in rows))
        else:
            _step(frame, steps["active"], ((row[0], row[1], row[2]) for row in rows))
    for name, array in steps.items():
        frame.values[name] += np.cumsum(array, axis=1)[:, 1:]


def _step(frame: Frame, steps: Ints, rows: Iterable[tuple[Any, Any, Any]]) -> None:
    """Add steps by day to arrays whose column 0 is all before the first day."""
    cells = list(zip(*rows, strict=True))
    if not cells:
        return
    count = len(cells[0])
    places = np.fromiter(map(frame.places.__getitem__, cells[0]), np.int64, count)
    columns = np.fromiter((0 if day is None else frame.columns[day] + 1 for day in cells[1]), np.int64, count)
    np.add.at(steps, (places, columns), np.array(cells[2], np.int64))


def _by_kind(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows by their first cell, without it."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row[1:])
    return found


def share_sql(lessons: str) -> str:
    """SQL: `round_half_up(fee x min(lessons, of) / of)`, the fee split so that no product leaves 64 bits."""
    n = f"CASE WHEN {lessons} < lessons_of THEN {lessons} ELSE lessons_of END"
    return f"(fee_fen / lessons_of * ({n}) + (2 * (fee_fen % lessons_of) * ({n}) + lessons_of) / (2 * lessons_of))"


LESSONS_OF = "CASE WHEN k.gift_policy = 'paid_first' THEN k.lessons_paid ELSE k.lessons_paid + k.lessons_gift END"
DECIDED = (
    "CASE WHEN l.status IN ('confirmed', 'deemed') AND l.decided_on IS NOT NULL THEN l.decided_on"
    " WHEN l.status IN ('requested', 'deemed') THEN l.silence_on END"
)
"""SQL: the day from which lesson `l` is confirmed, deemed, or agreed to by silence; NULL where nothing says so."""


def _moves(lite: bool) -> str:
    most = "max" if lite else "greatest"
    after_end = "date(k.ends_on, '+1 day')" if lite else "k.ends_on + 1"
    # On the day at hand and before it: the difference is the day's own.
    now, was = share_sql("all_counted"), share_sql("(all_counted - counted)")
    return _MOVES.format(
        decided=f"{most}(l.taught_on, {DECIDED})", earned=f"{now} - {was}", most=most, after_end=after_end,
        owed=f"{most}(0, all_paid - all_gone - {now})",
        owed_before=f"{most}(0, all_paid - paid - (all_gone - gone) - {was})",
    )


_OF_THESE = f"k.uscc IN EACH(:usccs) AND k.currency = '{CURRENCY}' AND k.recorded_at <= :known_at"
_MOVES = f"""
    WITH moves AS (
        SELECT l.contract_no, l.taught_on AS day, 1 AS taught, 0 AS counted, 0 AS deemed, 0 AS paid, 0 AS gone
        FROM contracts k JOIN lessons l ON l.contract_no = k.contract_no
        WHERE {_OF_THESE} AND l.status <> 'cancelled' AND l.taught_on <= :last
        UNION ALL
        SELECT l.contract_no, {{decided}}, 0, 1, CASE WHEN l.status = 'confirmed' THEN 0 ELSE 1 END, 0, 0
        FROM contracts k JOIN lessons l ON l.contract_no = k.contract_no
        WHERE {_OF_THESE} AND l.taught_on <= :last AND {DECIDED} <= :last
        UNION ALL
        SELECT c.contract_no, c.paid_on, 0, 0, 0, c.amount_fen, 0
        FROM contracts k JOIN charges c ON c.contract_no = k.contract_no
        WHERE {_OF_THESE} AND c.paid_on <= :last AND c.recorded_at <= :known_at
        UNION ALL
        SELECT r.contract_no, r.paid_on, 0, 0, 0, 0, r.amount_fen
        FROM contracts k JOIN refunds r ON r.contract_no = k.contract_no
        WHERE {_OF_THESE} AND r.paid_on <= :last AND r.recorded_at <= :known_at
    ), daily AS (
        SELECT contract_no, day, sum(taught) AS taught, sum(counted) AS counted, sum(deemed) AS deemed,
            CAST(sum(paid) AS BIGINT) AS paid, CAST(sum(gone) AS BIGINT) AS gone
        FROM moves GROUP BY contract_no, day
    ), rolled AS MATERIALIZED (
        SELECT contract_no, day, taught, counted, deemed, paid, gone,
            CAST(sum(taught) OVER contract AS BIGINT) AS all_taught,
            CAST(sum(counted) OVER contract AS BIGINT) AS all_counted,
            CAST(sum(paid) OVER contract AS BIGINT) AS all_paid, CAST(sum(gone) OVER contract AS BIGINT) AS all_gone
        FROM daily WINDOW contract AS (PARTITION BY contract_no ORDER BY day)
    ), moved AS (
        SELECT k.uscc, r.*, k.fee_fen, {LESSONS_OF} AS lessons_of
        FROM rolled r JOIN contracts k ON k.contract_no = r.contract_no
    ), ends AS (
        SELECT contract_no, min(day) AS day FROM (
            SELECT r.contract_no, r.day FROM rolled r JOIN contracts k ON k.contract_no = r.contract_no
            WHERE r.all_taught >= k.lessons_paid + k.lessons_gift
            UNION ALL
            SELECT f.contract_no, f.claimed_on FROM contracts k JOIN refund_claims f ON f.contract_no = k.contract_no
            WHERE {_OF_THESE} AND f.claimed_on <= :last AND f.recorded_at <= :known_at
            UNION ALL
            SELECT k.contract_no, {{after_end}} FROM contracts k WHERE {_OF_THESE} AND k.ends_on < :last
        ) AS found GROUP BY contract_no
    )
    SELECT 'moved', uscc, CASE WHEN day >= :first THEN day END, CAST(sum(taught) AS BIGINT),
        CAST(sum(counted) AS BIGINT), CAST(sum(deemed) AS BIGINT), CAST(sum({{earned}}) AS BIGINT),
        CAST(sum({{owed}} - {{owed_before}}) AS BIGINT)
    FROM moved GROUP BY uscc, CASE WHEN day >= :first THEN day END
    UNION ALL
    SELECT 'begun', k.uscc, CASE WHEN k.signed_on >= :first THEN k.signed_on END, count(*), 0, 0, 0, 0
    FROM contracts k WHERE {_OF_THESE} AND k.signed_on <= :last
    GROUP BY k.uscc, CASE WHEN k.signed_on >= :first THEN k.signed_on END
    UNION ALL
    SELECT 'over', uscc, CASE WHEN over_on >= :first THEN over_on END, -count(*), 0, 0, 0, 0 FROM (
        SELECT k.uscc, {{most}}(e.day, k.signed_on) AS over_on FROM ends e
        JOIN contracts k ON k.contract_no = e.contract_no WHERE k.signed_on <= :last
    ) AS found GROUP BY uscc, CASE WHEN over_on >= :first THEN over_on END
"""

_CONTRACTS = f"""
    SELECT k.uscc, k.signed_on, count(*), CAST(sum(k.lessons_paid) AS BIGINT), CAST(sum(k.fee_fen) AS BIGINT)
    FROM contracts k
    WHERE k.uscc IN EACH(:usccs) AND k.currency = '{CURRENCY}' AND k.signed_on BETWEEN :first AND :last
        AND k.recorded_at <= :known_at
    GROUP BY k.uscc, k.signed_on
"""
_CHARGES = f"""
    SELECT k.uscc, c.paid_on, count(*), CAST(sum(c.amount_fen) AS BIGINT)
    FROM contracts k JOIN charges c ON c.contract_no = k.contract_no
    WHERE k.uscc IN EACH(:usccs) AND k.currency = '{CURRENCY}' AND c.paid_on BETWEEN :first AND :last
        AND k.recorded_at <= :known_at AND c.recorded_at <= :known_at
    GROUP BY k.uscc, c.paid_on
"""
_COMPLAINTS = """
    SELECT c.uscc, c.received_on, count(*) FROM complaints c
    WHERE c.uscc IN EACH(:usccs) AND c.received_on BETWEEN :first AND :last AND c.recorded_at <= :known_at
    GROUP BY c.uscc, c.received_on
"""
_NOTICES = f"""
    SELECT n.kind, n.uscc, n.noticed_on, count(*) FROM notices n
    WHERE n.uscc IN EACH(:usccs) AND n.noticed_on BETWEEN :first AND :last AND n.recorded_at <= :known_at
        AND n.kind IN ({", ".join(repr(name) for name in NOTICES)})
    GROUP BY n.kind, n.uscc, n.noticed_on
"""
