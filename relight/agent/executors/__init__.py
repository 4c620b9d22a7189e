"""Executors: what carries out actions in one system each."""
