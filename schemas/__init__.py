"""The vocabulary of relight: every record, rule and result as a frozen model. It imports nothing of ours."""
