"""What the closure watch reads and keeps: a figure for every institution and day, and what was said each morning."""
