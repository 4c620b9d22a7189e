"""Renderings: files that are no logs, such as dumps and metrics, as lines that can be read like a log."""
