"""The alert book, its numbered feed, what people decided and what is owed to whom."""
