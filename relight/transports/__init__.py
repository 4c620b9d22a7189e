"""Transports: the port to a log of records, and its adapters."""
