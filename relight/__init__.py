"""relight reads the logs of AI training clusters, names the line that broke a run, and says what to do about it.

This package is the shell around the pure core: the command line, the transports, the stores and the reports.
"""

__version__ = "0.1.0"
