"""What can go wrong here, as exceptions whose docstring is their default sentence."""

from __future__ import annotations


class EscrowMonitorError(Exception):
    """Something went wrong in escrow-monitor."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())


class UsageError(EscrowMonitorError):
    """The command or its arguments are wrong."""

    exit_code = 2


class SpokenError(UsageError):
    """Something that was asked for is refused, said in both languages: a terminal and a page tell the same."""

    def __init__(self, message: str, *, zh: str) -> None:
        super().__init__(message)
        self.zh = zh


class ConfigurationError(UsageError):
    """The configuration is wrong."""


class PolicyError(UsageError):
    """A policy pack is wrong."""


class OutsideError(EscrowMonitorError):
    """Something outside this program failed."""

    exit_code = 3


class DatabaseError(OutsideError):
    """The database did not answer as it must."""


class StatementRefused(EscrowMonitorError):
    """A statement file cannot be taken as it is."""
