"""Any bank that answers JSON, read by a mapping of JMESPath expressions from the configuration.

    {"ti": {"zhxx": [{"zh": "6222...", "zhye": 1234567}]}}       accounts = "ti.zhxx", account = "zh", amount = "zhye"
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from zoneinfo import ZoneInfo

import jmespath  # type: ignore[import-untyped]  # has no stubs of its own
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from jmespath.functions import Functions  # type: ignore[import-untyped]

from escrow_monitor.banks.decoding import decoded
from escrow_monitor.banks.http import Answer, BankHttp
from escrow_monitor.banks.mapped_bank import MappedBank
from escrow_monitor.banks.mapped_calls import Body, Wire
from escrow_monitor.banks.mapping import NumberText, Place
from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.banks.templates import ACCOUNT_NAMES, LIST_NAME, Template, Values, compiled
from escrow_monitor.clock import Clock
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.banks import JsonBankSettings
from escrow_monitor.settings.mapping import CallMapping, Encoding

SOURCE = "json_bank"

_KNOWN_FUNCTIONS = frozenset(Functions.FUNCTION_TABLE)
# These make binary fractions of what must stay digits.
_INEXACT_FUNCTIONS = frozenset({"to_number", "sum", "avg", "abs", "ceil", "floor"})


class JsonBank(MappedBank):
    """One bank that answers JSON, as its section of the configuration says."""

    def __init__(
        self, bank: str, http: BankHttp, settings: JsonBankSettings, *, zone: ZoneInfo, clock: Clock,
        secrets: Mapping[str, str],
    ) -> None:
        wire = Wire(
            source=SOURCE, find=JsonPath, body=_body, read=_reader(settings.encoding), print_of=_print_of,
            media_type="application/json", accept="application/json", numbers=settings.numbers,
        )
        super().__init__(bank, http, settings, wire, zone=zone, clock=clock, secrets=secrets)


class JsonPath:
    """A compiled JMESPath expression. Raises ConfigurationError for one that does not compile or computes."""

    def __init__(self, path: str, key: str) -> None:
        self.path, self.key = path, key
        self._from_top = path.startswith("/")
        try:
            self._compiled = jmespath.compile(path.removeprefix("/"))
        except JMESPathError as error:
            raise ConfigurationError(f"{key}: {path!r} is no JMESPath: {str(error).splitlines()[0]}") from error
        _check_functions(self._compiled.parsed, key)
        self._fields = _plain_fields(self._compiled.parsed)

    def one(self, place: Place) -> str | None:
        """The text it leads to."""
        found = self._search(place)
        if found is None or isinstance(found, NumberText):
            return found
        if isinstance(found, str):
            return found.strip() or None
        if isinstance(found, bool):
            return "true" if found else "false"
        what = "a list" if isinstance(found, list) else "an object" if isinstance(found, dict) else "a computed value"
        raise refused(RefusalReason.MALFORMED, place.where, self.path, f"{what} where one value is wanted")

    def many(self, place: Place) -> Sequence[object] | None:
        """The rows it leads to."""
        found = self._search(place)
        if found is None or isinstance(found, list):
            return found
        raise refused(RefusalReason.MALFORMED, place.where, self.path, "not a list")

    def _search(self, place: Place) -> object:
        node = place.top if self._from_top else place.row
        if self._fields is not None:  # nearly all of them, in a tenth of the time
            for name in self._fields:
                if not isinstance(node, dict):
                    return None
                node = node.get(name)
            return node
        try:
            return cast("object", self._compiled.search(node))
        except JMESPathError as error:
            detail = f"the expression fails on this answer ({type(error).__name__})"
            raise refused(RefusalReason.MALFORMED, place.where, self.path, detail) from error


def _check_functions(node: Mapping[str, object], key: str) -> None:
    if node.get("type") == "function_expression":
        name = str(node["value"])
        if name in _INEXACT_FUNCTIONS:
            raise ConfigurationError(f"{key}: {name}() is not allowed: it makes a binary fraction of an exact number")
        if name not in _KNOWN_FUNCTIONS:
            raise ConfigurationError(f"{key}: there is no function {name}()")
    for child in cast("Iterable[object]", node.get("children", ())):
        if isinstance(child, dict):
            _check_functions(child, key)


def _plain_fields(node: Mapping[str, object]) -> tuple[str, ...] | None:
    """The names of an expression that only goes down through fields; None for every other."""
    if node["type"] == "field":
        return (str(node["value"]),)
    if node["type"] != "subexpression":
        return None
    found: list[str] = []
    for child in cast("Iterable[Mapping[str, object]]", node["children"]):
        names = _plain_fields(child)
        if names is None:
            return None
        found += names
    return tuple(found)


def _reader(encoding: Encoding) -> Callable[[Answer], object]:
    def read(answer: Answer) -> object:
        return parsed_json(decoded(answer.content, encoding, answer.path), answer.path)

    return read


def parsed_json(text: str, where: str) -> object:
    """The document, numbers as the characters they are written in. Raises Refused."""
    try:
        return json.loads(
            text, parse_float=NumberText, parse_int=NumberText, parse_constant=_no_constant, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as error:
        raise refused(RefusalReason.MALFORMED, where, None, f"not JSON: {str(error)[:80]}") from error


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no number")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose names are all different: of two figures under one name nobody knows which is meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _print_of(rows: Sequence[object]) -> Hashable:
    return hash(repr(rows))


@dataclass(frozen=True, slots=True)
class _JsonBody:
    """A document with templates for its texts; `{accounts}` alone stands for the list of them."""

    tree: object
    each: object

    @property
    def names(self) -> frozenset[str]:
        return _names_in(self.tree) | (_names_in(self.each) - ACCOUNT_NAMES)

    def render(self, values: Values, accounts: Sequence[Values]) -> bytes:
        return json.dumps(self._filled(self.tree, values, accounts), ensure_ascii=False).encode()

    def _filled(self, node: object, values: Values, accounts: Sequence[Values]) -> object:
        if isinstance(node, Template):
            if node.names == {LIST_NAME}:
                return [self._filled(self.each, {**values, **account}, ()) for account in accounts]
            return node.render(values)
        if isinstance(node, dict):
            return {name: self._filled(value, values, accounts) for name, value in node.items()}
        if isinstance(node, list):
            return [self._filled(value, values, accounts) for value in node]
        return node


def _body(mapping: CallMapping, key: str, names: frozenset[str]) -> Body | None:
    """The body of a call. Raises ConfigurationError for what is no JSON or names what is not known."""
    if mapping.form or mapping.body_file is not None:
        raise ConfigurationError(f"{key}: form and body_file are for XML banks; a JSON bank takes a body")
    if mapping.body is None:
        return None
    each = "{account_no}" if mapping.each is None else mapping.each
    return _JsonBody(
        tree=_tree(_document(mapping.body, f"{key}.body"), f"{key}.body", names),
        each=_tree(
            each if mapping.each is None else _document(each, f"{key}.each"), f"{key}.each",
            (names - {LIST_NAME}) | ACCOUNT_NAMES,
        ),
    )


def _document(body: object, key: str) -> object:
    if not isinstance(body, str):
        return body
    try:
        return cast("object", json.loads(body))
    except ValueError as error:
        raise ConfigurationError(f"{key}: not JSON: {error}") from error


def _tree(node: object, key: str, names: frozenset[str]) -> object:
    if isinstance(node, str):
        template = compiled(node, key, names)
        if LIST_NAME in template.names and template.parts != (template.parts[0],):
            raise ConfigurationError(f"{key}: {{accounts}} stands alone in its text: it becomes a list")
        return template
    if isinstance(node, dict):
        return {name: _tree(value, f"{key}.{name}", names) for name, value in node.items()}
    if isinstance(node, list):
        return [_tree(value, f"{key}[{number}]", names) for number, value in enumerate(node)]
    return node


def _names_in(node: object) -> frozenset[str]:
    if isinstance(node, Template):
        return node.names
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return frozenset[str]().union(*map(_names_in, inside))
