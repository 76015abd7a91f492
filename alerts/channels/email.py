"""A channel that sends entries by e-mail over SMTP, as text and HTML, several entries in one message."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Literal

from jinja2 import Environment

from alerts.alert import FeedEntry, Severity
from alerts.channel import Owed
from alerts.channel.notice import Lang, Notice, NoticeOf, headline, notice_of_test
from alerts.delivery import NotSent, Sent

DIGEST_MAX = 100
TIMEOUT_SECONDS_DEFAULT = 20
DETAIL_CHARACTERS_MAX = 200
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

Tls = Literal["starttls", "tls", "none"]

_HTML = """\
<!DOCTYPE html>
<html lang="{{ tag }}"><head><meta charset="utf-8"><title>{{ subject }}</title></head>
<body style="font-family: sans-serif; color: #1a1a1a; max-width: 48em">
{% if notices | length > 1 %}<h1 style="font-size: 1.2em">{{ subject }}</h1>{% endif %}
{% for notice in notices %}
<div style="border-left: 4px solid {{ colours[notice.severity] }}; padding: 0.2em 0 0.2em 0.8em; margin: 1em 0">
<h2 style="font-size: 1em; margin: 0">{{ notice.title }}</h2>
<table style="border-spacing: 0; margin: 0.4em 0">
{% for name, value in notice.facts %}<tr><th scope="row" style="text-align: left; font-weight: normal; color: #555;
 padding-right: 1em">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table>
<a href="{{ notice.url }}">{{ more }}</a>
</div>
{% endfor %}
</body></html>
"""
_COLOURS = {Severity.RED: "#c0272d", Severity.ORANGE: "#d9730d", Severity.YELLOW: "#c9a400", Severity.INFO: "#3b6fb6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """How the mail server is reached. STARTTLS is demanded, not tried: a server without it gets nothing."""

    host: str
    port: int
    tls: Tls = "starttls"
    ca_file: Path | None = None
    user: str | None = None
    password: str | None = None
    timeout_seconds: int = TIMEOUT_SECONDS_DEFAULT


class EmailChannel:
    """Sends from one address to a few. A repeat has the same Message-ID, so that mail programs can tell it.

    Taken by one recipient is Sent, and the detail says how many were refused for good; while one is refused for now
    the whole is passing. Raises ValueError for addresses, or a way of securing them, that can never work.
    """

    def __init__(
        self,
        name: str,
        mailbox: Mailbox,
        *,
        sender: str,
        recipients: Sequence[str],
        notice_of: NoticeOf,
        home_url: str,
        now_of: Callable[[], datetime],
        lang: Lang = "zh",
    ) -> None:
        self.name = name
        self._mailbox = mailbox
        self._sender = _address(sender)
        self._recipients = tuple(_address(recipient) for recipient in recipients)
        if not self._recipients:
            raise ValueError("an e-mail needs at least one recipient")
        if mailbox.user is not None and mailbox.tls == "none":
            raise ValueError('a password is never sent in the clear: tls must be "starttls" or "tls"')
        self._notice_of = notice_of
        self._home_url = home_url
        self._now_of = now_of
        self._lang: Lang = lang
        self._trust = _trust(mailbox)
        self._template = Environment(autoescape=True).from_string(_HTML)

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self._mail(self._message([self._notice_of(entry)], [message_id]))

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        """Several entries in one mail."""
        return self._mail(self._message([self._notice_of(entry) for entry, _ in owed], [id_ for _, id_ in owed]))

    def fits(self, owed: Sequence[Owed]) -> int:
        """So many that somebody still reads them."""
        return min(len(owed), DIGEST_MAX)

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """A mail marked as a test."""
        notice = notice_of_test(message_id, url=self._home_url, lang=self._lang)
        return self._mail(self._message([notice], [message_id]))

    def preview(self, entry: FeedEntry) -> str:
        """The headers and both bodies, decoded."""
        message = self._message([self._notice_of(entry)], [f"evt_{entry.seq}_{self.name}"])
        text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
        bodies = "\n".join(str(body.get_content()) for body in (text, html) if body is not None)
        return "\n".join(f"{name}: {value}" for name, value in message.items()) + "\n\n" + bodies

    def close(self) -> None:
        """Nothing is held: each message has a connection of its own."""

    def _message(self, notices: Sequence[Notice], ids: Sequence[str]) -> EmailMessage:
        subject = " ".join(headline(notices).split())
        message = EmailMessage(policy=SMTP)
        # Python before 3.13 loses spaces where it folds a header that is not ASCII; one that does not break stays.
        message["Subject"] = subject if subject.isascii() else subject.replace(" ", NO_BREAK_SPACE)
        message["From"] = self._sender
        message["To"] = self._recipients
        message["Date"] = format_datetime(self._now_of())
        message["Message-ID"] = f"<{_joint_id(ids)}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-Escrow-Messages"] = " ".join(ids)
        if not notices[0].is_test:
            message["X-Escrow-Severity"] = max(notices, key=lambda notice: notice.severity.rank).severity.value
        message.set_content(self._text(notices))
        html = self._template.render(
            tag=_tag(self._lang), subject=subject, notices=notices, colours=_COLOURS,
            more="在控制台查看" if self._lang == "zh" else "Open in the console",
        )
        message.add_alternative(html, subtype="html")
        # After the bodies: they take what is called Content-* with them.
        message["Content-Language"] = _tag(self._lang)
        return message

    def _text(self, notices: Sequence[Notice]) -> str:
        colon = "：" if self._lang == "zh" else ": "
        return "\n\n".join(
            "\n".join([notice.title, *(f"  {name}{colon}{value}" for name, value in notice.facts), f"  {notice.url}"])
            for notice in notices
        ) + "\n"

    def _mail(self, message: EmailMessage) -> Sent | NotSent:
        try:
            with self._connected() as server:
                refused = server.send_message(
                    message, self._sender.addr_spec, [recipient.addr_spec for recipient in self._recipients]
                )
        except smtplib.SMTPRecipientsRefused as nobody:
            return _refused(nobody.recipients, len(self._recipients))
        except smtplib.SMTPResponseException as refusal:
            return NotSent(
                detail=f"SMTP {refusal.smtp_code}: {_words(refusal.smtp_error)}", permanent=refusal.smtp_code >= 500
            )
        except smtplib.SMTPNotSupportedError:
            # Somebody on the way may have taken the offer out: another day, another way.
            return NotSent(detail=f"{self._mailbox.host} does not offer what is asked of it: STARTTLS or "
                           "authentication", permanent=False)
        except (OSError, smtplib.SMTPException) as failed:
            return NotSent(detail=f"{self._mailbox.host} did not take it: {type(failed).__name__}", permanent=False)
        return _refused(refused, len(self._recipients)) if refused else Sent(
            detail=f"taken for {len(self._recipients)} of {len(self._recipients)} recipients"
        )

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        box = self._mailbox
        if box.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                box.host, box.port, timeout=box.timeout_seconds, context=self._trust
            )
        else:
            server = smtplib.SMTP(box.host, box.port, timeout=box.timeout_seconds)
        with server:
            if box.tls == "starttls":
                server.starttls(context=self._trust)
            if box.user is not None:
                server.login(box.user, box.password or "")
            yield server


def _refused(refused: dict[str, tuple[int, bytes]], recipients: int) -> Sent | NotSent:
    """What it means that some recipients were refused; no address is told."""
    codes = sorted({code for code, _ in refused.values()})
    said = f"{len(refused)} of {recipients} recipients were refused (SMTP {', '.join(map(str, codes))})"
    if any(code < 500 for code in codes):
        return NotSent(detail=said, permanent=False)
    return NotSent(detail=said, permanent=True) if len(refused) == recipients else Sent(detail=said)


def _joint_id(ids: Sequence[str]) -> str:
    """The id itself, or for several one that is the same for the same several."""
    return ids[0] if len(ids) == 1 else f"digest_{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:32]}"


def _address(text: str) -> Address:
    """`Name <box@domain>` or `box@domain`."""
    name, spec = parseaddr(text)
    try:
        address = Address(display_name=name, addr_spec=spec)
    except (ValueError, LookupError, MessageError) as wrong:
        raise ValueError(f"{text!r} is no e-mail address") from wrong
    if not address.username or not address.domain or not text.isprintable():
        raise ValueError(f"{text!r} is no e-mail address")
    if not spec.isascii():
        raise ValueError(f"{text!r}: an address holds ASCII only; a name before it may be Chinese")
    return address


def _trust(mailbox: Mailbox) -> ssl.SSLContext | None:
    if mailbox.tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=None if mailbox.ca_file is None else str(mailbox.ca_file))
    except (OSError, ssl.SSLError) as unreadable:
        raise ValueError(f"the mail server's certificate authority cannot be read: {mailbox.ca_file}") from unreadable


def _tag(lang: Lang) -> str:
    return "zh-CN" if lang == "zh" else "en"


def _words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:DETAIL_CHARACTERS_MAX]
