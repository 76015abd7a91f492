"""Which bank line is which charge or refund: what is to be matched, what is proved, what people decide."""
