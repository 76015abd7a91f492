"""A library about alerts: who must know, since when, and did they hear. It knows no bank, no database, no web."""
