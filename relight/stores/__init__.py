"""Stores of incidents and log lines: a port with two adapters, Elasticsearch and the embedded SQLite file."""
