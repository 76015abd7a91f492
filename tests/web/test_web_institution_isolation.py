"""An institution's person goes through every address there is with another's identifiers, and reads nothing of it."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote_plus, urlencode

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from escrow_monitor.records.database import Database
from escrow_monitor.web.api.document import document_of, operations
from escrow_monitor.web.guard import COOKIE
from tests.web.schools_world import Schools
from tests.web.test_web_server import Stream, serving
from tests.web.web_world import Site

OWN, OTHER = 0, 1
STREAMS = frozenset({"/feeds/alerts/events"})
"""A stream has no end: it is listened to below."""
PAGE_QUERIES = ("q", "uscc", "district", "after", "text", "claim", "case_no", "contract_no", "account_no", "bank")


class Walk:
    """One site, the names of both schools, and how to tell that something of the other's is said."""

    def __init__(self, schools: Schools) -> None:
        self.schools = schools
        self.site = Site(schools.world, schools.app)
        other, account = schools.institutions[OTHER], schools.accounts[OTHER]
        own = schools.institutions[OWN]
        self.marks = [
            other.uscc, other.name, account.account_no, f"TQ-{OTHER}-", schools.alerts[OTHER], f"RQ{OTHER}",
            f"备注{OTHER}", f"材料{OTHER}", f"转学缘由{OTHER}", f"第{OTHER}校", f"school {OTHER} is",
            *(f"{kind}{schools.place(OTHER)}" for kind in ("HT", "JF", "TF", "S", "TS", "C", "TZ")),
        ]
        if other.licence_no and other.licence_no != own.licence_no:
            self.marks.append(other.licence_no)

    def named(self, number: int) -> Mapping[str, Sequence[str]]:
        """What each part of an address, or filter, may be, of one school."""
        school, account = self.schools.institutions[number], self.schools.accounts[number]
        case = self.schools.case(f"TQ-{number}-1").case
        return {
            "uscc": [school.uscc], "account_no": [account.account_no], "account": [account.account_no],
            "case_no": [case.case_no], "claim": [case.case_no], "contract_no": [case.contract_no],
            "contract": [case.contract_no], "alert_id": [self.schools.alerts[number]],
            "request_id": [f"RQ{number}"], "number": [str(self.schools.recon_no(number)), "1", "2"],
            "q": [school.name, school.uscc, case.case_no, account.account_no], "text": [school.name],
            "district": [school.district or "5103"], "bank": [account.bank], "rule": ["floor"],
            "institution": [school.uscc], "subject": [f"account:{account.account_no}", f"institution:{school.uscc}"],
            "after": [school.uscc, case.case_no, account.account_no, "0"],
        }

    def told(self, url: str, answer: httpx.Response) -> list[str]:
        """What of the other's is in an answer that was not in the question: what was typed may come back."""
        text = text_of(answer) + str(dict(answer.headers))
        return [mark for mark in self.marks if mark in text and mark not in unquote_plus(url)]

    def ask(self, url: str, who: str, *, by_key: bool) -> httpx.Response:
        if by_key:
            return self.site.get(url, key=who)
        return self.site.get(url, key=None, cookie=f"{COOKIE}={self.schools.tokens[who]}; escrow_lang=zh")


def text_of(answer: httpx.Response) -> str:
    """All that can be read in an answer, a workbook's cells included."""
    if not answer.content.startswith(b"PK"):
        return answer.text + unescaped(answer.text)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        return "".join(book.read(name).decode("utf-8", "replace") for name in book.namelist())


def unescaped(text: str) -> str:
    """JSON says Chinese in escapes where it is not told otherwise."""
    return text.encode().decode("unicode_escape", "ignore") if "\\u" in text else ""


@pytest.fixture(scope="module")
def walk(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("schools")
    shutil.copy(sqlite_template, folder / "schools.db")
    database = Database(f"sqlite:///{folder}/schools.db")
    yield Walk(Schools(database, folder))
    database.close()


def paths_of(walk: Walk) -> list[str]:
    return sorted({
        context.path for context in iter_route_contexts(walk.site.app.routes)
        if context.path is not None and "GET" in (context.methods or ()) and context.path not in STREAMS
    })


def filled(template: str, walk: Walk) -> Iterator[str]:
    """An address with every mixture of own and the other's identifiers; parts that are of nobody are `1`."""
    parts = re.findall(r"{(\w+)(?::\w+)?}", template)
    own, other = walk.named(OWN), walk.named(OTHER)
    choices = [(*other.get(part, ["1"]), *own.get(part, [])) for part in parts]
    for chosen in itertools.product(*choices):
        path = template
        for part, value in zip(parts, chosen, strict=True):
            path = re.sub(rf"{{{part}(?::\w+)?}}", quote(value).replace("\\", r"\\"), path)
        yield path


def queries(template: str, walk: Walk) -> Iterator[str]:
    """No filter, and each that the route has with what is the other's."""
    yield ""
    known = {
        path: [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
        for path, method, operation in operations(document_of(walk.site.app)) if method == "get"
    }
    for name in known.get(template, PAGE_QUERIES if template[:4] != "/api" else ()):
        for value in walk.named(OTHER).get(name, ()):
            yield f"?{urlencode({name: value})}"


@pytest.mark.slow
@pytest.mark.parametrize("by_key", [False, True])
def test_no_address_tells_an_institution_anything_of_another(walk: Walk, by_key: bool) -> None:
    """Every GET route, every mixture of identifiers, every filter; what it typed itself may be said back."""
    asked, answered, told = 0, 0, []
    for template in paths_of(walk):
        for path in filled(template, walk):
            for query in queries(template, walk):
                answer = walk.ask(path + query, f"school-{OWN}", by_key=by_key)
                asked += 1
                answered += answer.status_code == 200
                assert answer.status_code < 500, path + query
                told += [(path + query, answer.status_code, mark) for mark in walk.told(path + query, answer)]
    assert told == []
    assert asked > 200
    assert answered > 60


@pytest.mark.slow
def test_the_other_s_is_as_what_does_not_exist(walk: Walk) -> None:
    """The same status and the same words, the identifier aside: nothing says that it is there."""
    other = walk.named(OTHER)
    nobody = {
        "uscc": "91510300MA6ZZZZZ99", "account_no": "622209999999999", "case_no": "TQ-9-9", "contract_no": "HT-9-9",
        "alert_id": "A" * len(walk.schools.alerts[OTHER]), "request_id": "RQ9",
    }
    compared = 0
    for template in paths_of(walk):
        parts = re.findall(r"{(\w+)(?::\w+)?}", template)
        if not set(parts) & set(nobody):
            continue
        theirs = absent = template
        for part in parts:
            mine = {**{name: values[0] for name, values in other.items()}, "number": "1"}.get(part, "1")
            theirs = re.sub(rf"{{{part}(?::\w+)?}}", quote(mine), theirs)
            absent = re.sub(rf"{{{part}(?::\w+)?}}", quote(nobody.get(part, mine)), absent)
        found, missing = (walk.ask(path, f"school-{OWN}", by_key=False) for path in (theirs, absent))
        assert found.status_code == missing.status_code >= 400, (theirs, found.status_code, missing.status_code)
        words = found.text
        for part in set(parts) & set(nobody):
            words = words.replace(other[part][0], "*")
        for name in nobody.values():
            assert name not in words
        gone = missing.text
        for name in nobody.values():
            gone = gone.replace(name, "*")
        assert random_aside(words) == random_aside(gone), theirs
        compared += 1
    assert compared >= 12


def random_aside(html: str) -> str:
    """Tokens that are new in each answer."""
    return re.sub(r'(name="(?:csrf|once)" value=|content=)"[^"]*"', r'\1"*"', html)


def test_the_walk_would_notice(walk: Walk) -> None:
    """Of somebody who sees all, these very addresses tell every mark there is."""
    other = walk.named(OTHER)
    told: set[str] = set()
    for path in (
        "/institutions", "/cases", "/cases/TQ-1-1", f"/institutions/{other['uscc'][0]}",
        f"/reconcile/{other['uscc'][0]}",
        "/api/v1/contracts?limit=1000", "/api/v1/alerts", "/api/v1/reconciliations", "/reconcile", "/api/v1/accounts",
        f"/alerts/{other['alert_id'][0]}", "/feeds/alerts.atom",
    ):
        answer = walk.ask(path, "li", by_key=False)
        assert answer.status_code == 200, path
        told |= {mark for mark in walk.marks if mark in text_of(answer)}
    spoken = {mark for mark in walk.marks if not mark.startswith(("JF-", "TF-", "TS-", "C-", "TZ-"))}
    assert spoken - told == set()


def test_its_own_are_all_there(walk: Walk) -> None:
    """That nothing of another is told would be easy if nothing were."""
    own = walk.named(OWN)
    school = walk.schools.institutions[OWN]
    for path, mark in (
        ("/", school.name), ("/institutions", school.name), (f"/institutions/{school.uscc}", school.name),
        ("/cases", "TQ-0-1"), ("/cases/TQ-0-1", "备注0给institution"), ("/cases/TQ-0-1", "材料0institution.pdf"),
        (f"/reconcile/{school.uscc}", school.name), (f"/reconcile/{school.uscc}/{own['number'][0]}", school.name),
        ("/reconcile/runs/RQ0", school.name), ("/alerts", "第0校"), (f"/alerts/{own['alert_id'][0]}", "第0校"),
        ("/api/v1/contracts", own["contract_no"][0]), ("/feeds/alerts.json?after=0", "第0校"),
        (f"/api/v1/contracts/{own['contract_no'][0]}/refund-statement?claim=TQ-0-1", school.name),
    ):
        answer = walk.ask(path, "school-0", by_key=False)
        assert answer.status_code == 200, path
        assert mark in answer.text, path
    page = walk.ask("/cases/TQ-0-1", "school-0", by_key=False).text
    assert "备注0给supervisors" not in page
    assert "材料0supervisors.pdf" not in page
    # The first document is the supervisors' own, the second is for the school as well.
    assert [walk.ask(f"/cases/TQ-0-1/evidence/{n}", "school-0", by_key=False).status_code for n in (1, 2)] == [404, 200]


def test_the_stream_of_an_institution_leaves_out_what_is_another_s(walk: Walk) -> None:
    with serving(walk.schools.world) as server:
        headers = {"Authorization": f"Bearer {walk.schools.world.secrets['school-0']}"}
        stream = Stream(server, headers, "?after=0")
        until = time.monotonic() + 10
        while "第0校" not in unescaped("".join(stream.lines)) + "".join(stream.lines) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.5)
        heard = "\n".join(stream.lines)
        assert stream.status == 200
        assert "第0校" in heard + unescaped(heard)
        assert [mark for mark in walk.marks if mark in heard + unescaped(heard)] == []
        refused = httpx.get(
            f"{server.url}/feeds/alerts/events?uscc={walk.schools.institutions[OTHER].uscc}", headers=headers,
            trust_env=False,
        )
        assert refused.status_code == 403
