"""relight reads the logs of AI training clusters, names the line that broke a run, and says what to do about it.

This package is the shell around the pure core: the command line, the transports, the stores and the reports.
"""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("relight")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.1.0"
