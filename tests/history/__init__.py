"""The history checker: long random histories over a real small system, judged from outside."""
