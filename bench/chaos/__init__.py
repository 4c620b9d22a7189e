"""Chaos: the pipeline's processes are killed, frozen and doubled while an oracle writes faults that it has numbered."""
