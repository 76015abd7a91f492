"""What a watcher hears of the calls to a bank: for trying a connection out, and for noting the bank's certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from escrow_monitor.domain.statements import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSeen:
    """One attempt to call a bank. `status` None: no answer came. Path and query are as they were called.

    `content` is the body that came, of an error only its beginning. It is the bank's own: redact it before it is shown.
    """

    method: str
    path: str
    status: int | None
    seconds: float
    refusal: Refusal | None = None
    media_type: str = ""
    content: bytes = field(default=b"", repr=False)


def remember_certificate(context: ssl.SSLContext, met: Callable[[bytes], None]) -> None:
    """Have `met` called with the other side's certificate (DER) after each handshake of this context.

    It happens once a connection, not once a call, and asks nothing of the HTTP library above.
    """

    class Remembering(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()  # raises SSLWantReadError until it is done
            shown = self.getpeercert(binary_form=True)
            if shown:
                met(shown)

    context.sslobject_class = Remembering
