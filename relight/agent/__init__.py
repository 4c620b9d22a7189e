"""The reference orchestrator: takes recovery commands, carries them out, and says what became of them."""
