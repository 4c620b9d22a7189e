"""Telling people: what belongs together in one message, how it reads, and the ways that it takes."""
