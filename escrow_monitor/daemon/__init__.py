"""The clock and the engine that start rounds; importing this package loads neither."""
