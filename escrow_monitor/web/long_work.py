"""What takes long, on pages and over the API alike: the audit record walked, a past replayed, files loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from escrow_monitor.actions.import_files import Imported
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.chain import AuditVerdict
from escrow_monitor.web.ports import AskedBackTest, WebPorts
from escrow_monitor.web.who import Who
from escrow_monitor.web.works import Kind, Progress

VERIFICATION: Kind[AuditVerdict] = Kind(name="verification", shape=AuditVerdict, running_max=1)
BACK_TEST: Kind[dict[str, Any]] = Kind(name="back_test", shape=dict[str, Any], running_max=1)
IMPORT: Kind[Imported] = Kind(name="import", shape=Imported, running_max=3)
COMPARED_MAX = 4
"""So many policies are compared at once."""

_SHORTHAND = re.compile(r"floor:[0-9.]{1,8}(:[0-9]{1,2}(:[a-z]{1,10})?)?\Z|watch:[0-9.,]{1,40}\Z", re.ASCII)


def owner_for(who: Who) -> str | None:
    """Whose work somebody may look at: their own; an administrator of everything at anybody's, which is None."""
    return None if who.may(Permission.ADMIN) and who.visible.is_everything else who.actor


def verification(
    ports: WebPorts, *, witnesses: Mapping[int, str] | None = None, key_id: str | None = None
) -> Callable[[Progress], AuditVerdict]:
    """Walk the whole chain of the audit record; `witnesses` are heads that others kept, `key_id` who sealed it."""

    def walk(progress: Progress) -> AuditVerdict:
        with ports.database.read() as session:
            return audit.verify(session, expected_key=key_id, witnesses=witnesses, progress=progress)

    return walk


def replay(ports: WebPorts, asked: AskedBackTest) -> Callable[[Progress], dict[str, Any]] | None:
    """Replay a past; None where this process cannot."""
    if ports.back_test is None:
        return None
    do = partial(ports.back_test, asked)
    return lambda progress: dict(do(progress))


def not_compared(ports: WebPorts, policies: list[str]) -> str | None:
    """The first of these that cannot be compared: there are too many, or it is none.

    No word of theirs is a path: the command line reads files, the web does not.
    """
    if len(policies) > COMPARED_MAX:
        return policies[COMPARED_MAX]
    known = ports.policies.packs
    return next((word for word in policies if not (_SHORTHAND.match(word) or word in known)), None)
