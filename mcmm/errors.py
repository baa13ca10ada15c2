"""Every exception mcmm raises on purpose.

Each message names the setting or the file, the rule, and the value that broke it, one line per problem.
"""

from __future__ import annotations

__all__ = ["InputError", "MCMMError", "ScenarioError", "StoreError", "StudyError"]


class MCMMError(Exception):
    """The base of all of them; the command ends with exit code 2 on one."""


class ScenarioError(MCMMError, ValueError):
    """A scenario with an unknown setting, a value out of range, or settings that contradict each other."""


class StudyError(MCMMError, ValueError):
    """A study that asks for what cannot be run."""


class InputError(MCMMError, ValueError):
    """An argument out of its range, or a file that cannot be read or written."""


class StoreError(MCMMError):
    """A run directory that is in use, or that belongs to another study or another schema version."""
