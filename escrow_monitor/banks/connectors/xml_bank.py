"""Any bank's front-end machine (前置机) that answers XML, read by a mapping of ElementPath expressions.

    <stream><list name="userDataList"><row><accountNo>6222...</accountNo><balance>12.00</balance></row></list></stream>
    accounts = "list[@name='userDataList']/row", account = "accountNo", amount = "balance"

The path language is the standard library's ElementPath, with `/@name` at the end for an attribute: it cannot compute,
and needs no second XML parser beside the one that refuses document types.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from escrow_monitor.banks.decoding import decoded
from escrow_monitor.banks.http import Answer, BankHttp
from escrow_monitor.banks.mapped_bank import MappedBank
from escrow_monitor.banks.mapped_calls import Body, Wire
from escrow_monitor.banks.mapping import Place
from escrow_monitor.banks.safe_xml import parsed_xml
from escrow_monitor.banks.statement_reading import Refused, refused
from escrow_monitor.banks.templates import ACCOUNT_NAMES, LIST_NAME, Template, Values, compiled
from escrow_monitor.clock import Clock
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.banks import XmlBankSettings
from escrow_monitor.settings.mapping import CallMapping, Encoding

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type alone; what parses is defusedxml

SOURCE = "xml_bank"

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*?\?>")
_DECLARED = re.compile(r"encoding\s*=\s*[\"']([A-Za-z0-9_.:-]+)[\"']")
_ATTRIBUTE = re.compile(r"(?:(.+)/)?@([^/\[\]@]+)\Z")
_CHINESE = frozenset({"gb2312", "gbk", "gb18030", "cp936"})
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class XmlBank(MappedBank):
    """One front-end machine that answers XML, as its section of the configuration says. `bodies` are the body files."""

    def __init__(
        self, bank: str, http: BankHttp, settings: XmlBankSettings, *, zone: ZoneInfo, clock: Clock,
        secrets: Mapping[str, str], bodies: Mapping[str, str],
    ) -> None:
        envelope = _Envelope(settings)

        def body(mapping: CallMapping, key: str, names: frozenset[str]) -> Body | None:
            return _body(mapping, key, names, settings, bodies)

        charset = "" if settings.encoding == "utf-8" else f"; charset={settings.encoding.upper()}"
        wire = Wire(
            source=SOURCE, find=XmlPath, body=body, read=envelope.read, print_of=_print_of,
            media_type=f"{settings.media_type}{charset}", accept="application/xml, text/xml, */*",
        )
        super().__init__(bank, http, settings, wire, zone=zone, clock=clock, secrets=secrets)


class XmlPath:
    """A compiled ElementPath. Raises ConfigurationError for one that does not compile."""

    def __init__(self, path: str, key: str) -> None:
        self.path, self.key = path, key
        self._from_top = path.startswith("/")
        relative = path.removeprefix("/")
        attribute = _ATTRIBUTE.match(relative)
        self._attribute = attribute[2] if attribute else None
        self._elements = (attribute[1] or ".") if attribute else relative
        try:
            if relative.startswith("/"):
                raise SyntaxError("write .//name to look for it everywhere")
            parsed_xml(b"<a><b/></a>", key).findall(self._elements)
        except (SyntaxError, KeyError, ValueError, TypeError, AttributeError) as error:  # whatever it stumbles over
            raise ConfigurationError(f"{key}: {path!r} is no path: {error}") from error

    def one(self, place: Place) -> str | None:
        """The text of the element, or the attribute, that it leads to."""
        found = self._found(place)
        if len(found) > 1:
            detail = f"{len(found)} elements where one is wanted"
            raise refused(RefusalReason.MALFORMED, place.where, self.path, detail)
        if not found:
            return None
        element = found[0]
        if self._attribute is not None:
            return (element.get(self._attribute) or "").strip() or None
        if len(element):
            raise refused(RefusalReason.MALFORMED, place.where, self.path, "an element that holds others, not a text")
        return (element.text or "").strip() or None

    def many(self, place: Place) -> Sequence[object] | None:
        """The elements it leads to; None where what should hold them is not there."""
        if self._attribute is not None:
            raise refused(RefusalReason.MALFORMED, place.where, self.path, "an attribute is no list of rows")
        found = self._found(place)
        if found:
            return found
        holder, slash, _ = self._elements.rpartition("/")
        if not slash or holder.endswith("/") or "]" in self._elements[len(holder):]:
            return found
        return found if self._node(place).find(holder) is not None else None

    def _found(self, place: Place) -> list[Element]:
        return self._node(place).findall(self._elements)

    def _node(self, place: Place) -> Element:
        node: Element = place.top if self._from_top else place.row  # type: ignore[assignment]  # what `read` gave
        return node


class _Envelope:
    """What stands around the XML of an answer, and how it is written."""

    def __init__(self, settings: XmlBankSettings) -> None:
        self._encoding: Encoding = settings.encoding
        self._length_digits = settings.length_digits
        self._after = settings.answer_after
        self._base64 = settings.answer_base64

    def read(self, answer: Answer) -> object:
        """The root element. Raises Refused."""
        return self._parsed(self._unwrapped(answer.content, answer.path), answer.path)

    def _unwrapped(self, content: bytes, where: str) -> bytes:
        if self._length_digits is not None:
            stated = content[: self._length_digits].strip()
            content = content[self._length_digits :]
            whole = len(content) + self._length_digits
            # Some count the length field itself, some do not.
            if not stated.isdigit() or int(stated) not in (len(content), whole):
                detail = f"its length field says {stated[:10]!r}, there are {len(content)} bytes behind it"
                raise refused(RefusalReason.MALFORMED, where, "length_digits", detail)
        if self._after is not None:
            _, found, content = content.partition(self._after.encode("ascii", "replace"))
            if not found:
                detail = f"nothing stands behind {self._after!r} in it"
                raise refused(RefusalReason.MISSING_FIELD, where, "answer_after", detail)
        if self._base64:
            try:
                content = base64.b64decode(re.sub(rb"\s+", b"", content), validate=True)
            except binascii.Error as error:
                raise refused(RefusalReason.MALFORMED, where, "answer_base64", f"not Base64: {error}") from error
        return content

    def _parsed(self, content: bytes, where: str) -> object:
        text = decoded(content, self._encoding, where)
        declaration = _DECLARATION.match(text)
        declared = _DECLARED.search(declaration[0]) if declaration else None
        if declared is not None and not _is_encoding(declared[1], self._encoding):
            detail = f"declares {declared[1][:20]}, and the configuration says {self._encoding}"
            raise refused(RefusalReason.MALFORMED, where, "encoding", detail)
        # The parser gets UTF-8 without a declaration: it knows no Chinese encoding.
        return parsed_xml(text[declaration.end() if declaration else 0 :].encode(), where)


def _is_encoding(declared: str, encoding: Encoding) -> bool:
    name = declared.lower().replace("_", "-")
    return name in ("utf-8", "utf8") if encoding == "utf-8" else name in _CHINESE


def _print_of(rows: Sequence[object]) -> Hashable:
    return hash(tuple(_outline(row) for row in rows))  # type: ignore[arg-type]  # what `many` gave


def _outline(element: Element) -> Hashable:
    return (element.tag, tuple(element.items()), element.text, tuple(_outline(child) for child in element))


@dataclass(frozen=True, slots=True)
class _XmlBody:
    """A text of XML with slots; `{accounts}` becomes `each` for every account."""

    text: Template
    each: Template
    form: Mapping[str, Template]
    form_field: str | None
    encoding: Encoding
    length_digits: int | None

    @property
    def names(self) -> frozenset[str]:
        inside = [template.names for template in self.form.values()]
        return self.text.names.union(*inside) | (self.each.names - ACCOUNT_NAMES if self._lists else frozenset())

    @property
    def _lists(self) -> bool:
        return LIST_NAME in self.text.names

    def render(self, values: Values, accounts: Sequence[Values]) -> bytes:
        many = "".join(self.each.render({**values, **account}, _escaped) for account in accounts) if self._lists else ""
        # What stands for the list is XML already; everything else is text.
        text = "".join(
            part if isinstance(part, str) else many if part.name == LIST_NAME
            else Template(self.text.key, (part,)).render(values, _escaped)
            for part in self.text.parts
        )
        try:
            content = text.encode(self.encoding)
        except UnicodeEncodeError as error:
            detail = f"the request cannot be written in {self.encoding}"
            raise refused(RefusalReason.NOT_CONFIGURED, self.text.key, None, detail) from error
        if self.form_field is not None:
            fields = {name: template.render(values) for name, template in self.form.items()}
            content = urlencode({**fields, self.form_field: content}, encoding=self.encoding).encode("ascii")
        if self.length_digits is not None:
            content = f"{len(content):0{self.length_digits}d}".encode() + content
        return content


def _escaped(text: str) -> str:
    if _NOT_XML.search(text):
        raise refused(RefusalReason.NOT_CONFIGURED, "body", None, "a value that cannot stand in XML")
    return escape(text, {'"': "&quot;", "'": "&apos;"})


def _body(
    mapping: CallMapping, key: str, names: frozenset[str], settings: XmlBankSettings, bodies: Mapping[str, str]
) -> Body | None:
    """The body of a call. Raises ConfigurationError for what is no XML or names what is not known."""
    if not isinstance(mapping.body, str | None) or not isinstance(mapping.each, str | None):
        raise ConfigurationError(f"{key}.body: an XML bank takes text")
    text = bodies[f"{key}.body_file"] if mapping.body_file is not None else mapping.body
    if text is None:
        return None
    each = "{account_no}" if mapping.each is None else mapping.each
    body = _XmlBody(
        text=compiled(text, f"{key}.body", names),
        each=compiled(each, f"{key}.each", (names - {LIST_NAME}) | ACCOUNT_NAMES),
        form={name: compiled(one, f"{key}.form.{name}", names) for name, one in mapping.form.items()},
        form_field=mapping.form_field, encoding=settings.encoding, length_digits=settings.length_digits,
    )
    _try_body(text, each, key, settings.encoding)
    return body


def _try_body(text: str, each: str, key: str, encoding: Encoding) -> None:
    """A body filled with harmless values must be XML, declared as it is written."""
    declaration = _DECLARATION.match(text)
    declared = _DECLARED.search(declaration[0]) if declaration else None
    if declared is None and encoding != "utf-8":
        raise ConfigurationError(f"{key}.body: must begin with <?xml ... encoding=\"{encoding.upper()}\"?>")
    if declared is not None and not _is_encoding(declared[1], encoding):
        raise ConfigurationError(f"{key}.body: declares {declared[1]}, and encoding is {encoding}")
    plain = re.sub(r"\{[^{}]*\}", "1", text[declaration.end() if declaration else 0 :].replace("{accounts}", each))
    try:
        parsed_xml(plain.replace("{{", "{").replace("}}", "}").encode(), f"{key}.body")
    except Refused as error:
        raise ConfigurationError(f"{key}.body: {error.refusals[0].detail}") from error
