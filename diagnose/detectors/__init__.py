"""Detectors: faults that are no line but a number out of bounds. Pure, on event time; the rules are data."""
