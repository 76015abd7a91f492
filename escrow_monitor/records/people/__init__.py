"""Who signs in: users, sessions, API keys, and tries that failed."""
