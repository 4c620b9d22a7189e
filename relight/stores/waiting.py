"""How whoever writes to a store waits, so that a process that is told to stop does not wait to the end."""

import threading
from collections.abc import Callable
from typing import Final

Waited = Callable[[float], bool]
"""Waits so many seconds, and tells whether to give up."""

NEVER: Final = threading.Event()
"""Is never set: waiting for it takes the time that is given, and nothing is given up."""
