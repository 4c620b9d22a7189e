"""Matching: which lines of a chunk the catalogue knows, and what they say. Knows nothing but the source in hand."""
