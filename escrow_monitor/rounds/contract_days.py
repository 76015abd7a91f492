"""Let the days pass for what institutions owe families, and keep it by the law of the day."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.contract_law import contract_law, contract_law_version
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.records.contracts.laws import lawless, set_laws
from escrow_monitor.records.contracts.sums import day_of_sums, kept_up
from escrow_monitor.records.database import Database


def bring_to_today(database: Database, *, policies: PolicyBook, now: datetime) -> None:
    """Bring the sums over contracts to the local day of `now`, by the law of that day; nothing where they are there.

    To be called before anything that rests on them is judged. Costs two small questions while nothing changed, and
    none of it while no contract is recorded.
    """
    today = now.astimezone(ZONE).date()
    version = contract_law_version(policies, today)
    with database.read() as session:
        day = day_of_sums(session)
        if day is None or (day >= today and not lawless(session, version=version)):
            return
    # Days do not go back, and neither does the law.
    today = max(day, today)
    version = contract_law_version(policies, today)
    with database.write() as session, kept_up(session, on=today):
        institutions = lawless(session, version=version)
        set_laws(
            session, {one.uscc: contract_law(policies, one, today) for one in institutions}, version=version
        )
