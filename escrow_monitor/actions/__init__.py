"""What people start: each changes one thing, once, under a name."""
