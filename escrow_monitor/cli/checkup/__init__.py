"""What `doctor` looks at, one file a field; `everything` runs them all."""
