"""A study's file: its tables, and the scenario that it names."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from mcmm.errors import InputError, MCMMError, StudyError
from mcmm.scenario import Scenario

__all__ = ["read_scenario", "read_tables"]

_OF_A_SCENARIO = {"market", "flow", "quoting", "risk", "recovery", "steps"}


def read_tables(path: Path) -> dict[str, Any]:
    """Read a study's tables from TOML.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If it cannot be read.
    StudyError
        If it is not TOML, or is a scenario.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StudyError(f"{path}: is not a text file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path}: is not valid TOML: {error}") from None
    if not tables.keys() & {"points", "calibrate"} and tables.keys() & _OF_A_SCENARIO:
        raise StudyError(f"{path}: is a scenario, not a study; simulate it with `mcmm simulate {path}`")
    return tables


def read_scenario(path: Path) -> Scenario:
    """Read the scenario that a study names, and say so where it is at fault."""
    try:
        return Scenario.load(path)
    except MCMMError as error:
        raise StudyError("\n".join(f"scenario: {line}" for line in str(error).splitlines())) from None
