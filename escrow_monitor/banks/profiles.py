"""Statement profiles as the readers want them, from the settings."""

from __future__ import annotations

from collections.abc import Mapping

from escrow_monitor.banks.formats.csv_profile import Columns, Profile
from escrow_monitor.settings.statements import StatementProfileSettings


def profiles_of(sections: Mapping[str, StatementProfileSettings]) -> dict[str, Profile]:
    """Every configured profile by its name."""
    return {
        name: Profile(
            name=name,
            columns=Columns(**section.columns.model_dump()),
            **section.model_dump(exclude={"columns"}),
        )
        for name, section in sections.items()
    }
