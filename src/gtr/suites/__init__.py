"""The named problems: an environment, what changes in it and when, and a budget."""

from gtr.suites.definition import Size, Suite
from gtr.suites.registry import suite, suites

__all__ = ["Size", "Suite", "suite", "suites"]
