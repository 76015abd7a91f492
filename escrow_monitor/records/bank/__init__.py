"""What banks answered: pulls, readings, statements, the days they cover, and what of it does not agree."""
