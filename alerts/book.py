"""Where alerts are kept: the port, and a book in memory."""
