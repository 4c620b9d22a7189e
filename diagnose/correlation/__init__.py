"""Correlation: signals in, runs and diagnosed incidents out. Pure: no clock, no randomness, no I/O."""
