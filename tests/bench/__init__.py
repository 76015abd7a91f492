"""Benchmarks: each target beside its peer or floor, in one run, with peak memory."""
