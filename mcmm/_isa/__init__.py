"""The builds of the compiled core, one per instruction set, and the choice between them at import.

All give the same bits. The best one that the machine can run is taken; ``MCMM_ISA=baseline|avx2|avx512``
overrides.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mcmm.errors import InputError

if TYPE_CHECKING:
    from mcmm import _core as core
else:
    core: Any

__all__ = ["BUILDS", "builds", "core", "load"]

BUILDS = {"avx512": "mcmm._isa.avx512._core", "avx2": "mcmm._isa.avx2._core", "baseline": "mcmm._core"}


def _baseline() -> Any:
    try:
        return import_module("mcmm._core")
    except ModuleNotFoundError:
        raise ImportError(
            "mcmm's compiled core is not here: this is its source folder, which hides an installed mcmm. Run "
            "from another folder or with `python -P`, or install with `python -m pip install -e .`"
        ) from None


def load(name: str) -> Any:
    """Return one build of the core.

    Raises
    ------
    InputError
        If there is no such instruction set, this machine lacks it, or it was not built here.
    """
    if name not in BUILDS:
        raise InputError(f"MCMM_ISA: must be one of {', '.join(BUILDS)}, got {name!r}")
    if name not in _baseline().supported():
        raise InputError(f"MCMM_ISA: {name} is not supported by this machine")
    try:
        return import_module(BUILDS[name])
    except ImportError as error:
        raise InputError(f"MCMM_ISA: {name} was not built here ({error})") from None


def builds() -> tuple[str, ...]:
    """Return the instruction sets that are built here and that this machine can run, best first."""
    found = []
    for name in _baseline().supported():
        try:
            load(name)
        except InputError:
            continue
        found.append(name)
    return tuple(found)


core = load(os.environ.get("MCMM_ISA") or builds()[0])
