"""The closed loop, shown: a real training program, faults that are really injected, and relight, which mends them."""
