"""A policy of one's own: a function that quotes, compiled or in plain Python, handed to the core.

The core shows it what the maker knows, a block of paths at a time, and takes prices and sizes from it; ticks,
limits, pauses and breakers stay the core's (docs/policies.md).
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm.errors import InputError, MCMMError

if TYPE_CHECKING:
    from mcmm.scenario import Scenario

__all__ = [
    "LANES",
    "ROWS",
    "SETTINGS",
    "SIGNATURE",
    "STATE_ROWS",
    "Policy",
    "QuoteView",
    "checked_policy",
    "numba_policy",
    "policy_of",
    "row",
]

FloatArray = npt.NDArray[np.float64]

LANES = 64
"""Paths in a block, the length of a row."""
MAX_PARAMETERS = 64
"""The most ``quoting.parameters``; a compiled policy sees those that are given, and past them 0."""
STATE_ROWS = 8
"""Rows of a path's own memory, 0 before its first step."""
READ = (
    "mid",
    "inventory",
    "inventory_ratio",
    "imbalance",
    "exposure",
    "pnl",
    "quoting",
    "multiplier",
    "bid_multiplier",
    "ask_multiplier",
)
WRITTEN = ("bid", "ask", "bid_size", "ask_size")
ROWS: tuple[str, ...] = (*READ, *WRITTEN, *(f"state_{index}" for index in range(STATE_ROWS)))
"""What the rows hold, in the core's order."""
SETTINGS: tuple[str, ...] = (
    "market.tick_size",
    "market.volatility",
    "quoting.base_spread",
    "quoting.imbalance_factor",
    "quoting.inventory_factor",
    "quoting.quote_size",
    "quoting.volatility_factor",
    "quoting.risk_aversion",
    "risk.inventory_limit",
    "risk.exposure_limit",
)
"""The settings a policy is handed, in this order, before the scenario's own ``quoting.parameters``."""

SIGNATURE = "int (double *, double *, long long, long long)"
"""What a compiled policy is called with: rows, settings, step, steps. It returns 0, or ends the run."""
_LONG_LONG = re.compile(r"\b(long long|PY_LONG_LONG|int64_t|long)\b")
"""What a whole number of 64 bits is called: by C, by Cython, by either, and by ctypes."""
_RAISED = 1
"""What `numba_policy` returns for an exception."""


def row(name: str) -> int:
    """Return the number of a row by its name; InputError with the names if there is none."""
    if name not in ROWS:
        raise InputError(f"row: must be one of {', '.join(ROWS)}, got {name!r}")
    return ROWS.index(name)


class QuoteView:
    """What a policy in plain Python sees of a block of paths, and where it writes its quote.

    Attributes
    ----------
    mid, inventory, inventory_ratio, imbalance, exposure, pnl, quoting : ndarray of shape (64,)
        The maker's books before the quote, a path each: dollars, contracts, u, I, dollars at the last mark,
        cash and inventory at mid after fees, and 1 where the maker may quote in this step.
    multiplier, bid_multiplier, ask_multiplier : ndarray of shape (64,)
        What half-spreads are to be multiplied by for recovery, and for the soft exposure limit on each side.
    bid, ask, bid_size, ask_size : ndarray of shape (64,)
        To be written in place: dollars (NaN, as they come, quotes no such side) and contracts (as they come,
        what policy adaptive would quote).
    state : ndarray of shape (8, 64)
        The policy's own memory of each path, 0 before the first step.
    step, steps : int
        This step, from 0, and the length of a path.
    settings : dict of str to float
        `SETTINGS` by dotted name.
    parameters : tuple of float
        The scenario's ``quoting.parameters``.
    """

    def __init__(self, rows: FloatArray, scenario: Scenario) -> None:
        self._rows = rows
        for index, name in enumerate((*READ, *WRITTEN)):
            setattr(self, name, rows[index])
        self.state = rows[len(READ) + len(WRITTEN) :]
        self.step, self.steps = 0, scenario.steps
        self.settings = {name: float(scenario.get(name)) for name in SETTINGS}
        self.parameters = tuple(scenario.quoting.parameters)

    def check(self, policy: str) -> None:
        """Raise InputError where a name was bound to another array, which the core would never see."""
        for index, name in enumerate(WRITTEN, start=len(READ)):
            there = getattr(self, name)
            if not (isinstance(there, np.ndarray) and np.shares_memory(there, self._rows[index])):
                raise InputError(
                    f"policy: {policy} must write view.{name} in place (view.{name}[:] = ...), "
                    f"got view.{name} = {type(there).__name__}"
                )

    mid: FloatArray
    inventory: FloatArray
    inventory_ratio: FloatArray
    imbalance: FloatArray
    exposure: FloatArray
    pnl: FloatArray
    quoting: FloatArray
    multiplier: FloatArray
    bid_multiplier: FloatArray
    ask_multiplier: FloatArray
    bid: FloatArray
    ask: FloatArray
    bid_size: FloatArray
    ask_size: FloatArray


@dataclass(frozen=True)
class Policy:
    """A policy of one's own, ready for the core.

    Attributes
    ----------
    name : str
        ``module:name`` or ``file.py:name``, as results record it.
    digest : str
        A SHA-256 of its source, of the whole file where it was found by name; "" if it is not known.
    function : PyCapsule or callable
        Compiled; or plain Python, called with a `QuoteView`.
    keep : object
        What must live as long as the function.
    place : str
        Where another process finds it: the name with the file's whole path; "" if it has no name.
    """

    name: str
    digest: str
    function: Any
    keep: Any
    place: str = ""

    def __reduce__(self) -> tuple[Any, tuple[str, str, str]]:
        """Send its name to another process, which must find the same source there."""
        return _found_again, (self.place, self.name, self.digest)

    def core_argument(self, scenario: Scenario) -> tuple[Any, Callable[[], tuple[Any, Any]]]:
        """Return what the core's plan takes: the compiled function or None, and what begins a run."""
        if callable(self.function):
            return None, lambda: self._quoting(scenario)
        return self.function, lambda: (None, self._failed)

    def _quoting(self, scenario: Scenario) -> tuple[FloatArray, Callable[[int, int], None]]:
        """Return the rows of a run, and what quotes in them."""
        # An array of NumPy's own: a policy may keep what it is shown, and look at it when the run is over.
        rows = np.zeros((len(ROWS), LANES))
        view, quote = QuoteView(rows, scenario), self.function

        def call(step: int, _: int) -> None:
            view.step = step
            try:
                quote(view)
            except Exception as error:
                error.add_note(f"in policy {self.name}, step {step}")
                raise
            view.check(self.name)

        return rows, call

    def _failed(self, step: int, code: int) -> None:
        why = (
            "it raised an exception: as plain Python, without numba_policy, it says which"
            if code == _RAISED and hasattr(self.keep, "_policy")
            else f"it returned {code}, which must be 0"
        )
        raise MCMMError(f"policy: {self.name} failed in step {step}: {why}")

    def provenance(self) -> dict[str, str]:
        """Return what results record of it."""
        return {"policy": self.name, "policy_digest": self.digest}

    @property
    def mark(self) -> str:
        """What tells it from another: its name and its digest."""
        return f"{self.name} sha256:{self.digest}" if self.digest else self.name


def policy_settings(scenario: Scenario) -> FloatArray:
    """Return what a policy is handed: `SETTINGS` in order, then the scenario's parameters, 0 past them."""
    handed = np.zeros(len(SETTINGS) + MAX_PARAMETERS)
    values = [*(float(scenario.get(name)) for name in SETTINGS), *scenario.quoting.parameters]
    handed[: len(values)] = values
    return handed


def policy_of(policy: object, scenario: Scenario) -> Policy | None:
    """Return the policy of a run, checked.

    Parameters
    ----------
    policy : LowLevelCallable, Numba's cfunc, callable, str or None
        Compiled with `SIGNATURE`, or Python that takes a `QuoteView`; as text ``module:name`` or
        ``file.py:name``.
    scenario : Scenario
        Must have ``quoting.policy = "custom"`` exactly if there is a policy.

    Returns
    -------
    Policy or None

    Raises
    ------
    InputError
        If one is missing or not wanted, cannot be imported, or has another signature.
    """
    wanted = any(market.quoting.policy == "custom" for market in scenario.by_market().values())
    return checked_policy(
        policy, wanted, f'a scenario with quoting.policy "custom", got "{scenario.quoting.policy}"'
    )


def checked_policy(policy: object, wanted: bool, needs: str) -> Policy | None:
    """Return the policy if it is one; InputError if not, if it is missing, or if none is wanted."""
    if policy is None:
        if wanted:
            raise InputError('policy: must be given with quoting.policy "custom", got None')
        return None
    if not wanted:
        raise InputError(f"policy: needs {needs}")
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, str):
        return _imported(policy)
    return _made(policy, _name(policy), _digest(policy))


def _found_again(place: str, name: str, digest: str) -> Policy:
    found = _imported(place)
    if found.digest != digest:
        raise InputError(
            f"policy: {name} is another one on {platform.node()}: its source differs from the sender's"
        )
    return replace(found, name=name)


def _imported(text: str) -> Policy:
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise InputError(f"policy: must be module:name or file.py:name, got {text!r}")
    try:
        module = _from_file(place) if place.endswith(".py") else importlib.import_module(place)
    except (ImportError, OSError) as error:
        raise InputError(f"policy: {place} cannot be imported: {error}") from None
    if not hasattr(module, name):
        raise InputError(f"policy: {place} has no {name}")
    try:
        source = Path(module.__file__ or "").read_bytes()
    except OSError:
        source = b""
    made = _made(getattr(module, name), text, hashlib.sha256(source).hexdigest() if source else "")
    return replace(made, place=f"{Path(place).resolve()}:{name}" if place.endswith(".py") else text)


def _from_file(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Numba looks a function's module up by its name.
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return module


def _made(policy: Any, name: str, digest: str) -> Policy:
    capsule = policy
    if hasattr(policy, "address") and hasattr(policy, "ctypes"):  # Numba's cfunc
        from scipy import LowLevelCallable

        capsule = LowLevelCallable(policy.ctypes)
    if isinstance(capsule, tuple) and hasattr(capsule, "signature"):
        signature = " ".join(str(capsule.signature).replace("const ", "").split())
        if _LONG_LONG.sub("long long", signature) != SIGNATURE:
            raise InputError(f"policy: {name} must have the signature {SIGNATURE!r}, got {signature!r}")
        return Policy(name, digest, tuple.__getitem__(capsule, 0), policy)
    if not callable(policy):
        raise InputError(
            "policy: must be a LowLevelCallable, a Numba cfunc, a function, module:name or file.py:name, "
            f"got {name}"
        )
    return Policy(name, digest, policy, policy)


def _name(policy: Any) -> str:
    source = getattr(policy, "_policy", None) or getattr(policy, "_pyfunc", policy)
    if isinstance(policy, tuple) and hasattr(policy, "signature"):
        # Compiled elsewhere: it knows neither its file nor, from Cython, its name.
        compiled = getattr(policy, "function", None)
        return f"LowLevelCallable:{getattr(compiled, '__name__', 'unnamed')}"
    module = getattr(source, "__module__", None) or type(policy).__module__
    return f"{module}:{getattr(source, '__qualname__', type(policy).__qualname__)}"


def _digest(policy: Any) -> str:
    source = getattr(policy, "_policy", None) or getattr(policy, "_pyfunc", policy)
    try:
        return hashlib.sha256(inspect.getsource(source).encode()).hexdigest()
    except (OSError, TypeError):
        return ""


def numba_policy(function: Callable[..., Any]) -> Any:
    """Compile a function with Numba into a policy.

    Parameters
    ----------
    function : callable
        ``function(rows, settings, step, steps)``: an array of shape (22, 64) whose rows `ROWS` names, the
        array of `SETTINGS` and parameters, this step and the length of a path. It writes rows ``bid`` and
        ``ask``, and sizes where they are to differ. `row` numbers are taken outside of it.

    Returns
    -------
    numba.core.ccallback.CFunc
        To be handed to `mcmm.simulate` as ``policy``.

    Raises
    ------
    InputError
        If Numba is not installed.
    """
    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:
        raise InputError("policy: numba_policy needs Numba: python -m pip install numba") from None
    quote = numba.njit(function, error_model="numpy")
    doubles, whole = numba.types.CPointer(numba.types.float64), numba.types.int64
    shape, most = (len(ROWS), LANES), len(SETTINGS) + MAX_PARAMETERS

    def call(rows: Any, settings: Any, step: int, steps: int) -> int:
        # Out of a callback Numba lets no exception: it prints it and goes on.
        try:
            quote(numba.carray(rows, shape), numba.carray(settings, (most,)), step, steps)
        except Exception:
            return _RAISED
        return 0

    compiled: Any = numba.cfunc(numba.types.intc(doubles, doubles, whole, whole))(call)
    compiled._policy = function
    return compiled
