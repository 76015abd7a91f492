"""What families agreed, paid and were taught, the refunds they claim, and the sums of each contract."""
