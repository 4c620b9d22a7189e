"""All stories, by name: those that end a job, and those that do not."""

import long_stories
import machine_stories
import program_stories
from story import FAILED, UNHARMED, Story, Told, Truth, told

__all__ = ["FAILED", "UNHARMED", "Story", "Told", "Truth", "long_stories", "machine_stories", "program_stories", "told"]
