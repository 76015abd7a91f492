"""The explained bridge between what is required and what is in the bank."""
