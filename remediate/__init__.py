"""incident events -> recovery commands: playbooks, guardrails, lifecycle of a command."""
