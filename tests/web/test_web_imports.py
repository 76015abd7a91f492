"""Loading a file over HTTP: the same code as the command line, the same refusals, and once for one idempotency key."""

from __future__ import annotations

import pytest

from escrow_monitor.records.contracts.contracts import contract
from tests.web.web_world import Site, World

ONE, OTHER = "91110000600037341L", "9144030071526726XG"
INSTITUTIONS = f"uscc,name\n{ONE},晨光艺术培训学校\n{OTHER},远航英语培训中心\n"
HEADER = "contract_no,uscc,student_ref,course,signed_on,lessons_paid,fee\n"
CONTRACTS = f"{HEADER}HT-1,{ONE},S-1,钢琴,2026-09-01,40,4000.00\nHT-2,{OTHER},S-2,书法,2026-09-02,20,1999.99\n"
BROKEN = f"{HEADER}HT-3,{ONE},S-3,钢琴,2026-09-01,-4,4000.00\nHT-4,{ONE},S-4,钢琴,2026-09-01,40,4000.00\n"


@pytest.fixture(autouse=True)
def importer(site: Site, world: World) -> None:
    world.key("importer", "read", "import")
    assert load(site, INSTITUTIONS, "filename=institutions.csv", "institutions").json()["new"] == 2


def load(site: Site, text: str, query: str = "filename=contracts.csv", kind: str = "contracts", **headers: str):  # type: ignore[no-untyped-def]
    return site.send(
        "POST", f"/api/v1/imports/{kind}?{query}", key=headers.pop("key", "importer"), content=text.encode(), **headers
    )


def known(world: World, contract_no: str) -> bool:
    with world.database.read() as session:
        return contract(session, contract_no) is not None


def test_a_file_is_loaded_whole_and_a_second_time_changes_nothing(site: Site, world: World) -> None:
    first = load(site, CONTRACTS)
    assert (first.status_code, first.json()["new"], first.json()["kept"]) == (200, 2, True)
    again = load(site, CONTRACTS)
    assert (again.status_code, again.json()["new"], again.json()["changed"]) == (200, 0, 0)
    assert known(world, "HT-2")


def test_a_dry_run_keeps_nothing(site: Site, world: World) -> None:
    found = load(site, CONTRACTS, "filename=contracts.csv&dry_run=true").json()
    assert (found["new"], found["kept"]) == (2, False)
    assert not known(world, "HT-1")


def test_bad_rows_are_listed_and_nothing_is_kept_unless_they_are_skipped(site: Site, world: World) -> None:
    refused = load(site, BROKEN)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["where"] == "line 2, lessons_paid"
    assert refused.json()["errors"][0]["value"] == "-4"
    assert not known(world, "HT-4")
    skipped = load(site, BROKEN, "filename=contracts.csv&skip_bad_rows=true")
    assert (skipped.status_code, skipped.json()["new"], skipped.json()["bad"]) == (200, 1, 1)
    assert known(world, "HT-4")


def test_one_key_stands_for_one_file(site: Site) -> None:
    first = load(site, CONTRACTS, idempotency_key="monday")
    assert load(site, CONTRACTS, idempotency_key="monday").json() == first.json()
    assert load(site, BROKEN, idempotency_key="monday").status_code == 409


@pytest.mark.parametrize(("kind", "query", "text", "status", "told"), [
    ("pupils", "filename=x.csv", CONTRACTS, 404, "choose institutions"),
    ("contracts", "filename=x.csv", "", 400, "x.csv"),
    ("contracts", "filename=x.csv", "a,b\n1,2\n", 400, "contract_no"),
    ("contracts", "filename=..%2Fx.csv", CONTRACTS, 422, "filename"),
    ("contracts", "", CONTRACTS, 422, "filename"),
    ("contracts", "filename=x.csv&dryrun=1", CONTRACTS, 422, "dryrun"),
])
def test_what_cannot_be_loaded_says_why(
    site: Site, kind: str, query: str, text: str, status: int, told: str
) -> None:
    answer = load(site, text, query, kind)
    assert answer.status_code == status
    assert told in answer.text


def test_loading_needs_its_own_scope_and_comes_from_no_other_site(site: Site) -> None:
    assert load(site, CONTRACTS, key="reader").status_code == 403
    assert load(site, CONTRACTS, origin="http://elsewhere.example").status_code == 403
