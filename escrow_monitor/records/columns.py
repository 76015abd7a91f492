"""The columns every table is made of, and the metadata they hang on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, MetaData
from sqlmodel import Field, SQLModel

from escrow_monitor.domain.money import MINOR_UNITS_MAX

METADATA = MetaData(
    # Named from the first table on: SQLite's batch migrations can only drop a constraint that has a name.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Row(SQLModel):
    """One row of a table. `table=True` validates nothing: what is written here was checked as a domain value."""

    metadata = METADATA


def fen(**options: Any) -> Any:
    """An amount in minor units. A plain int column is 32 bits on PostgreSQL and overflows at 21 million yuan."""
    return Field(sa_type=BigInteger, **options)


def large(**options: Any) -> Any:
    """A count or sequence number that may grow large."""
    return Field(sa_type=BigInteger, **options)


def one_of(column: str, values: type[Any]) -> str:
    """The text of a CHECK that a column holds one of an enumeration's values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def exact(column: str) -> str:
    """The text of a CHECK that an amount is one that this program, JSON and JavaScript all keep exactly."""
    return f"{column} BETWEEN -{MINOR_UNITS_MAX} AND {MINOR_UNITS_MAX}"
