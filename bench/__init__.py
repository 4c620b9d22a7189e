"""The benchmark: what relight costs, and what else could look for the same patterns. `python -m bench --help`."""
