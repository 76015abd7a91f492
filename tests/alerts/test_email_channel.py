"""E-mail, against a real SMTP server on loopback that demands STARTTLS and a password."""

from __future__ import annotations

import email
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert import FeedEntry, Severity, Why
from alerts.channel import Channel, NotSent, Owed, Sent
from alerts.channels.email import EmailChannel, Mailbox
from alerts.delivery import Delivered, Delivery, message_id
from alerts.dispatch import dispatch
from alerts.feeds.notice import notice
from alerts.testing import START, OutsideChannelSuite, entry_of
from tests.alerts.platforms import nobody, silent

# The library's own controller sets up its TLS in a way that it warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

HOME = "https://escrow.example"
PASSWORD = "geheim-4711"
AT = datetime(2026, 11, 23, 9, 15, tzinfo=UTC)


@dataclass
class Postman:
    """Takes what comes, and refuses the recipients that it is told to."""

    taken: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    says: str = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.says.startswith("250"):
            message = email.message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.taken.append((envelope.mail_from, list(envelope.rcpt_tos), message))
        return self.says


def authenticates(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"escrow", PASSWORD.encode())
    return AuthResult(success=right, handled=right)


class House:
    """A mail server that proves itself as `localhost`, and the channels that go to it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack = stack
        self.postman = Postman()
        authority = trustme.CA()
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self.tls)
        self.ca_file, self.other_ca_file = folder / "ca.pem", folder / "other.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        trustme.CA().cert_pem.write_to_path(str(self.other_ca_file))

    def serve(self, **changes: Any) -> int:
        """A server that demands STARTTLS and then a password, unless told otherwise."""
        demands = {
            "tls_context": self.tls, "require_starttls": True, "authenticator": authenticates, "auth_required": True,
            **changes,
        }
        controller = Controller(
            self.postman, hostname="localhost", port=nobody(),
            **{name: value for name, value in demands.items() if value is not None},
        )
        controller.start()
        self.stack.callback(controller.stop)
        return int(controller.port)

    def channel(self, port: int, *, lang: Any = "zh", recipients: Sequence[str] = (), **changes: Any) -> EmailChannel:
        box = Mailbox(
            host="localhost", port=port, user="escrow", password=PASSWORD, ca_file=self.ca_file, timeout_seconds=5
        )
        return EmailChannel(
            "mail",
            replace(box, **changes),
            sender="资金监管 <alerts@escrow.example>",
            recipients=recipients or ["chief@bureau.example", "值班 <duty@bureau.example>"],
            notice_of=partial(notice, home_url=HOME, lang=lang),
            home_url=HOME,
            now_of=lambda: AT,
            lang=lang,
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(stack, tmp_path)


def send(channel: EmailChannel, entry: FeedEntry | None = None) -> Sent | NotSent:
    return channel.send(entry or entry_of(1), message_id="evt_1_mail")


def subject(message: EmailMessage) -> str:
    return str(message["Subject"]).replace("\xa0", " ")


def bodies(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


class TestEmailChannel(OutsideChannelSuite):
    @pytest.fixture
    def channel(self, house: House) -> Channel:
        return house.channel(house.serve())

    @pytest.fixture
    def broken_channel(self, house: House) -> Channel:
        return house.channel(nobody())

    @pytest.fixture
    def refusing_channel(self, house: House) -> Channel:
        house.postman.says = "554 5.7.1 not from you"
        return house.channel(house.serve())

    @pytest.fixture
    def silent_channel(self, house: House) -> Channel:
        return house.channel(house.stack.enter_context(silent()), timeout_seconds=1)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [PASSWORD]


def test_the_mail_says_it_as_text_and_as_html_with_the_headers_of_a_machine(house: House) -> None:
    why = Why(zh="余额 99.00 元 <低于> 底线 & 其他", en="x")
    entry = entry_of(1, why=why, labels={"name": "<b>晨光</b>", "account_no": "6217000000010001"})
    assert send(house.channel(house.serve()), entry) == Sent(detail="taken for 2 of 2 recipients")
    ((sender, recipients, message),) = house.postman.taken
    assert (sender, recipients) == ("alerts@escrow.example", ["chief@bureau.example", "duty@bureau.example"])
    assert subject(message) == "【红色·新预警】余额 99.00 元 <低于> 底线 & 其他"
    assert (message["From"], message["To"]) == (
        "资金监管 <alerts@escrow.example>", "chief@bureau.example, 值班 <duty@bureau.example>"
    )
    assert message["Message-ID"] == "<evt_1_mail@escrow.example>"
    assert (message["Auto-Submitted"], message["Content-Language"]) == ("auto-generated", "zh-CN")
    assert message["Date"].datetime == AT
    assert (message["X-Escrow-Messages"], message["X-Escrow-Severity"]) == ("evt_1_mail", "red")
    text, html = bodies(message)
    assert "余额 99.00 元 <低于> 底线 & 其他" in text
    assert "&lt;低于&gt; 底线 &amp; 其他" in html
    assert "<b>晨光" not in html
    for body in (text, html):
        assert "尾号 0001" in body
        assert "6217" not in body
        assert f"{HOME}/alerts/{entry.alert_id}" in body
    HTMLParser().feed(html)


def test_a_mail_is_english_where_that_is_chosen(house: House) -> None:
    send(house.channel(house.serve(), lang="en"))
    ((_, _, message),) = house.postman.taken
    assert message["Content-Language"] == "en"
    assert "holds 9900 fen" in subject(message)
    text, html = bodies(message)
    assert "institution" not in text  # the entry names none
    assert "Open in the console" in html


@given(st.text(st.characters(codec="utf-8"), max_size=300))
@settings(max_examples=200, deadline=None)
def test_whatever_is_said_the_subject_arrives_whole(sentence: str) -> None:
    entry = entry_of(1, why=Why(zh=sentence, en="x"))
    channel = EmailChannel(
        "mail", Mailbox(host="localhost", port=25, tls="none"), sender="a@b.example", recipients=["c@d.example"],
        notice_of=partial(notice, home_url=HOME), home_url=HOME, now_of=lambda: AT,
    )
    sent = channel._message([notice(entry, home_url=HOME)], ["evt_1_mail"]).as_bytes()
    read = email.message_from_bytes(sent, policy=policy.default)
    assert subject(read).split() == notice(entry, home_url=HOME).title.split()  # type: ignore[arg-type]
    assert max(map(len, sent.split(b"\r\n"))) <= 998


def test_a_subject_cannot_bring_a_header_of_its_own(house: House) -> None:
    why = Why(zh="余额\r\nBcc: thief@evil.example\r\n\r\n低", en="x")
    assert isinstance(send(house.channel(house.serve()), entry_of(1, why=why)), Sent)
    ((_, recipients, message),) = house.postman.taken
    assert message["Bcc"] is None
    assert "thief" not in " ".join(recipients)
    assert "Bcc: thief@evil.example" in subject(message)


def test_what_others_wrote_cannot_become_markup(house: House) -> None:
    markup = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    entry = entry_of(1, why=Why(zh=f"余额 {markup}", en="x"))
    assert isinstance(send(house.channel(house.serve()), entry), Sent)
    ((_, _, message),) = house.postman.taken
    text, html = bodies(message)
    assert markup in text
    assert html.count("&lt;script&gt;") >= 1
    assert "<script" not in html
    assert "<img" not in html


def test_several_entries_are_one_mail_and_the_same_several_have_the_same_id(house: House) -> None:
    channel = house.channel(house.serve())
    severities = [Severity.YELLOW, Severity.RED, Severity.YELLOW]
    owed = [Owed(entry_of(n, severity=severity), f"evt_{n}_mail") for n, severity in enumerate(severities, start=4)]
    for _ in range(2):
        assert isinstance(channel.send_digest(owed), Sent)
    channel.send_digest(owed[:2])
    first, again, fewer = (message for _, _, message in house.postman.taken)
    assert subject(first) == "91510300MA62000000：3 条预警（红色 1，黄色 2）第 4 至 6 号"
    assert first["X-Escrow-Messages"] == "evt_4_mail evt_5_mail evt_6_mail"
    assert first["X-Escrow-Severity"] == "red"
    assert first["Message-ID"] == again["Message-ID"] != fewer["Message-ID"]
    for body in bodies(first):
        assert body.count("尾号 0001") == 3


def test_a_test_mail_says_so(house: House) -> None:
    house.channel(house.serve()).ping(message_id="test_1_mail")
    ((_, _, message),) = house.postman.taken
    assert message["Subject"].startswith("【测试】")
    assert message["X-Escrow-Severity"] is None


def test_a_storm_becomes_one_mail(house: House) -> None:
    due = [
        Delivery(
            delivery_id=message_id(seq, "mail"), channel="mail", entry=entry_of(seq), attempts=0, due_at=START,
            created_at=START,
        )
        for seq in range(1, 81)
    ]
    done = list(dispatch(due, {"mail": house.channel(house.serve())}, now_of=lambda: AT))
    assert [one.outcome for one in done] == [Delivered()] * 80
    assert len(house.postman.taken) == 1


# ---- how it is secured --------------------------------------------------------------------------------------------


def test_a_server_without_starttls_gets_neither_password_nor_mail(house: House) -> None:
    port = house.serve(tls_context=None, require_starttls=None, auth_required=None, authenticator=None)
    answer = send(house.channel(port))
    assert answer == NotSent(
        detail="localhost does not offer what is asked of it: STARTTLS or authentication", permanent=False
    )
    assert house.postman.taken == []


def test_a_server_that_proves_nothing_gets_nothing(house: House) -> None:
    answer = send(house.channel(house.serve(), ca_file=house.other_ca_file))
    assert answer == NotSent(detail="localhost did not take it: SSLCertVerificationError", permanent=False)
    answer = send(house.channel(house.serve(), host="127.0.0.1"))
    assert isinstance(answer, NotSent)
    assert house.postman.taken == []


def test_a_wrong_password_is_permanent_and_not_shown(house: House) -> None:
    answer = send(house.channel(house.serve(), password="falsch-0815"))
    assert isinstance(answer, NotSent)
    assert answer.permanent
    assert answer.detail.startswith("SMTP 535")
    assert "falsch" not in answer.detail


def test_tls_from_the_first_byte_on(house: House) -> None:
    port = house.serve(tls_context=None, require_starttls=None, ssl_context=house.tls, auth_require_tls=False)
    assert isinstance(send(house.channel(port, tls="tls")), Sent)


def test_without_tls_where_the_line_is_safe_but_never_with_a_password(house: House) -> None:
    port = house.serve(tls_context=None, require_starttls=None, auth_required=None, authenticator=None)
    assert isinstance(send(house.channel(port, tls="none", user=None)), Sent)
    with pytest.raises(ValueError, match="in the clear"):
        house.channel(port, tls="none")


# ---- what an answer means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("says", "permanent"), [("451 later", False), ("452 full", False), ("550 no", True)])
def test_a_refusal_is_for_now_with_4_and_for_good_with_5(house: House, says: str, permanent: bool) -> None:
    house.postman.says = says
    answer = send(house.channel(house.serve()))
    assert answer == NotSent(detail=f"SMTP {says[:3]}: {says[4:]}", permanent=permanent)


@pytest.mark.parametrize(("refuses", "expected"), [
    (("550 no", "550 no"), NotSent(detail="2 of 2 recipients were refused (SMTP 550)", permanent=True)),
    (("450 grey", "550 no"), NotSent(detail="2 of 2 recipients were refused (SMTP 450, 550)", permanent=False)),
    (("450 grey", None), NotSent(detail="1 of 2 recipients were refused (SMTP 450)", permanent=False)),
    (("550 no", None), Sent(detail="1 of 2 recipients were refused (SMTP 550)")),
])
def test_recipients_that_are_refused_are_counted_and_not_named(
    house: House, refuses: Sequence[str | None], expected: Sent | NotSent
) -> None:
    both = ("chief@bureau.example", "duty@bureau.example")
    house.postman.refuses = {who: said for who, said in zip(both, refuses, strict=True) if said}
    assert send(house.channel(house.serve())) == expected


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@", "@b.example", "a b@c.example", "甲@c.example", "a@b\n.example"]
)
def test_an_address_that_can_never_work_is_refused_at_once(house: House, address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        house.channel(25, recipients=["ok@b.example", address])
