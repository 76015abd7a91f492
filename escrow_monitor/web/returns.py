"""The monthly return as the API and the pages make it: of what somebody sees, one at a time."""

from __future__ import annotations

from escrow_monitor.actions.monthly_return import AskedReturn, MonthlyReturn, monthly_return
from escrow_monitor.errors import UsageError
from escrow_monitor.web.handed_out import OneAtATime
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who


def made_return(ports: WebPorts, one: OneAtATime, who: Who, *, month: str, district: str | None) -> MonthlyReturn:
    """The return of what somebody sees. Raises Problem 404 for no month of ours, 503 while another is made."""
    with one.making(), ports.database.read() as session:
        try:
            return monthly_return(
                session, AskedReturn(month=month, district=district, visible=who.visible), policies=ports.policies,
                now=ports.clock.now(),
            )
        except UsageError as error:
            raise Problem(404, str(error)) from error


def name_of(found: MonthlyReturn, form: str) -> str:
    """What the file is called."""
    return "-".join(filter(None, ("return", found.asked.month, found.asked.district))) + f".{form}"
