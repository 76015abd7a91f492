"""What people and other programs read over HTTP: feeds, metrics, a read-only API and the console."""
