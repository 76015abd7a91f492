"""What is true of escrow money, law and time. Pure: no input or output, no clock, no logging."""
