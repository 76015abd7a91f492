"""Text of an answer in the encoding that the configuration names: another one is refused, never guessed."""

from __future__ import annotations

import re

from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.settings.mapping import Encoding

_IDEOGRAPH = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
# U+FFFD where somebody's reader gave up, and what its UTF-8 bytes look like when they are read as GBK.
_LOST = ("\ufffd", "锟斤拷")


def decoded(content: bytes, encoding: Encoding, where: str) -> str:
    """The text. Raises Refused with MALFORMED when the bytes are not in that encoding, or were garbled before."""
    plain = content.removeprefix(b"\xef\xbb\xbf") if encoding == "utf-8" else content
    try:
        # What calls itself GB2312 or GBK holds characters of its successor as soon as a name needs them.
        text = plain.decode("utf-8" if encoding == "utf-8" else "gb18030")
    except UnicodeDecodeError as error:
        detail = f"not {encoding}, as the configuration says, at byte {error.start}"
        raise refused(RefusalReason.MALFORMED, where, "encoding", detail) from error
    if encoding != "utf-8" and _is_utf8(plain):
        raise refused(
            RefusalReason.MALFORMED, where, "encoding", f"these bytes are UTF-8, and the configuration says {encoding}"
        )
    if any(lost in text for lost in _LOST):
        raise refused(RefusalReason.MALFORMED, where, "encoding", "the bank's own text is garbled")
    return text


def _is_utf8(content: bytes) -> bool:
    """Whether bytes read as GBK are UTF-8: Chinese in UTF-8 is also GBK, of other characters, but not the reverse."""
    if content.isascii():
        return False
    try:
        return _IDEOGRAPH.search(content.decode("utf-8")) is not None
    except UnicodeDecodeError:
        return False
