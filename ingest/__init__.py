"""Bytes become lines that say where they came from: sources, formats, names. Nothing here judges what a line means."""
