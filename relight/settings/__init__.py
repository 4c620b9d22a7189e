"""Settings: what can be set, where it is read from, and what wins: flags, the environment, a file, the default."""

from relight.settings.models import Settings
from relight.settings.sources import Misconfigured, Resolved, Setting, origins, resolve, settings

__all__ = ["Misconfigured", "Resolved", "Setting", "Settings", "origins", "resolve", "settings"]
