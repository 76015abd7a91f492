"""A district that lives: invented institutions, accounts and banks, the same for the same seed."""
