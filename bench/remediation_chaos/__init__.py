"""Chaos of remediation: planner and agents are killed while incidents ask for commands, whose effects are counted."""
