"""What the clock starts: gather, decide, record. Rounds never call each other; they meet in the records."""

ROUNDS = (
    "pull-balances", "load-statements", "check-balances", "reconcile", "watch-closure", "deliver-alerts",
    "watch-rounds", "seal-audit",
)
