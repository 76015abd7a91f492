"""XML from outside: parsed without document types, entities or surprises in size, or refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.statements import RefusalReason

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type alone; what parses is defusedxml

TAGS_MAX = 12_000_000
"""Start and end tags of one file: 100,000 entries have about 8 million. More would only fill the memory."""

_DECLARED = re.compile(rb"\A\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9_-]+)[\"'][^>]*\?>")
# The XML parser knows no multi-byte encodings but UTF-8 and UTF-16; Chinese banks write these.
_CHINESE = frozenset({"gb18030", "gbk", "gb2312"})


def parsed_xml(content: bytes, where: str) -> Element:
    """The root element. Raises Refused: TOO_LARGE, UNSAFE_XML for a document type, MALFORMED with the line."""
    if content.count(b"<") > TAGS_MAX:
        raise refused(RefusalReason.TOO_LARGE, where, None, f"more than {TAGS_MAX} tags")
    source: bytes | str = content
    declared = _DECLARED.match(content[:400])
    try:
        if declared is not None and declared[1].decode().lower() in _CHINESE:
            source = content[declared.end() :].decode("gb18030")
        parsed: Element = fromstring(source, forbid_dtd=True)
    except DefusedXmlException as error:
        raise refused(
            RefusalReason.UNSAFE_XML, where, None,
            f"the document type or entity declared in it is not allowed ({type(error).__name__})",
        ) from error
    except ParseError as error:
        line, column = error.position
        detail = f"not well-formed XML at column {column}"
        raise refused(RefusalReason.MALFORMED, f"{where}:{line}", None, detail) from error
    except (ValueError, LookupError) as error:
        raise refused(RefusalReason.MALFORMED, where, "encoding", "its declared encoding cannot be read") from error
    return parsed
