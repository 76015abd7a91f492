"""The hash-chained record of everything that was done, its seals, and how it is searched and exported."""
