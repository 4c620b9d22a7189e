"""LogRecord -> Signal -> incident: matching, correlation and root cause. Knows no file, no clock and no wire."""
