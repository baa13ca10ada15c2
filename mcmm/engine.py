"""Run a scenario: cut its paths into slices, hand them to the compiled core, put the rows together.

Paths are independent and keyed by their index, so slices, threads and their order leave no trace in the
result.
"""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import mcmm
from mcmm._isa import builds, core
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.orders import order_tables, replay_of
from mcmm.plan import make_plan
from mcmm.policies import Policy, policy_of
from mcmm.scenario import Scenario
from mcmm.simulation import SCHEMA_VERSION, Simulation
from mcmm.venue import work

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "MAX_PATHS",
    "Resumed",
    "core_builds",
    "core_info",
    "cores",
    "resume_rows",
    "run_rows",
    "simulate",
    "widened",
]

MAX_PATHS = 10**8
"""The most paths of one market held in memory at once: 31 numbers each."""

_MAX_TRACED = 10**8  # numbers in a trace
_LAST_PATH = 2**48
_SLICE = 4_000_000  # path-steps between two looks at the clock: some 40 ms


def simulate(
    scenario: Scenario,
    *,
    paths: int,
    seed: int = 0,
    first_path: int = 0,
    jobs: int = 1,
    trace_paths: int = 0,
    checkpoints: int = 0,
    orders: pd.DataFrame | None = None,
    policy: object = None,
    progress: Callable[[int, int], object] | None = None,
) -> Simulation:
    """Simulate independent paths of a scenario.

    Parameters
    ----------
    scenario : Scenario
        The market, the maker and its limits.
    paths : int
        How many paths, 1 .. 10^8.
    seed : int
        0 .. 2^64 - 1. Path i depends on the scenario, the seed and i alone.
    first_path : int
        Index of the first path; ``paths`` more follow.
    jobs : int
        Threads; -1 for one a core. It changes no value.
    trace_paths : int
        How many of the first paths to record step by step.
    checkpoints : int
        At how many equally spaced steps to record every path: pnl, drawdown, inventory and spread after step
        ceil(k steps / checkpoints) - 1 for k = 1, 2, .., so that the last is the path's end. At most steps.
    orders : DataFrame, optional
        Replay these orders in place of random takers: columns ``step``, ``side`` (+1 buys, -1 sells),
        ``size`` and, if wanted, ``limit`` (dollars) and ``fair`` (what the fair value moves to at the end of
        the step); with several markets also ``market``, the name of one.
    policy : LowLevelCallable, Numba cfunc, callable or str, optional
        Who quotes in a scenario with ``quoting.policy = "custom"``: compiled code, a function of a
        `mcmm.policies.QuoteView`, or ``module:name`` of either.
    progress : callable, optional
        Called as ``progress(done_paths, paths)`` from this thread, several times a second.

    Returns
    -------
    Simulation
        A row per path.

    Raises
    ------
    InputError
        If an argument is out of its range or the orders are not orders.
    ScenarioError
        If the scenario contradicts a replay.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.
    """
    if not isinstance(scenario, Scenario):
        raise InputError(f"scenario: must be a Scenario, got {type(scenario).__name__}")
    names = scenario.columns
    _whole("paths", paths, 1, MAX_PATHS // (len(names) // len(NAMES)))
    _whole("seed", seed, 0, 2**64 - 1)
    _whole("first_path", first_path, 0, _LAST_PATH - paths)
    _whole("trace_paths", trace_paths, 0, paths)
    path_steps = scenario.steps * scenario.market_count
    if trace_paths * path_steps * len(core.TRACE_COLUMNS) > _MAX_TRACED:
        most = _MAX_TRACED // (path_steps * len(core.TRACE_COLUMNS))
        of = f" of {scenario.market_count} markets" if scenario.markets else ""
        raise InputError(f"trace_paths: must be <= {most} with {scenario.steps} steps{of}, got {trace_paths}")
    _whole("checkpoints", checkpoints, 0, scenario.steps)
    width = scenario.market_count * len(core.CHECKPOINT_COLUMNS)
    if checkpoints * paths * width > _MAX_TRACED:
        most = _MAX_TRACED // (paths * width)
        raise InputError(f"checkpoints: must be <= {most} with {paths} paths, got {checkpoints}")
    if jobs != -1:
        _whole("jobs", jobs, 1, 1024, ", or -1 for one a core")
    if orders is not None:
        scenario = replay_of(scenario)
    elif any(market.flow.model == "replay" for market in scenario.by_market().values()):
        raise InputError("orders: must be given for a scenario with flow.model replay, got None")

    quoting = policy_of(policy, scenario)
    plan = make_plan(scenario, None if orders is None else order_tables(orders, scenario), quoting)
    values = np.empty((len(names), paths))
    shape = (trace_paths, scenario.steps, len(core.TRACE_COLUMNS))
    trace = np.empty((len(scenario.markets), *shape) if scenario.markets else shape)
    shape = (paths, checkpoints, len(core.CHECKPOINT_COLUMNS))
    marks = np.empty((len(scenario.markets), *shape) if scenario.markets else shape)
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    size = max(_SLICE // (path_steps * work(scenario.columns)) // core.BLOCK, 1) * core.BLOCK
    _run(plan, seed, first_path, values, trace, marks, size, cores() if jobs == -1 else jobs, progress)
    seconds = time.perf_counter() - clock
    return Simulation(
        scenario=scenario,
        seed=int(seed),
        first_path=int(first_path),
        values=values,
        trace_values=_by_name(trace, core.TRACE_COLUMNS, scenario) if trace_paths else None,
        checkpoint_values=_by_name(marks, core.CHECKPOINT_COLUMNS, scenario) if checkpoints else None,
        provenance={
            "mcmm": mcmm.__version__,
            "schema": SCHEMA_VERSION,
            **core_info(),
            **(quoting.provenance() if quoting else {}),
            "started": started.isoformat(timespec="seconds"),
            "seconds": seconds,
            "path_steps_per_second": paths * path_steps / seconds,
        },
    )


def run_rows(
    scenario: Scenario,
    seed: int,
    first_path: int,
    paths: int,
    stop: NDArray[np.int32] | None = None,
    policy: Policy | None = None,
) -> NDArray[np.float64]:
    """Simulate paths on the calling thread, with the GIL released; arguments are trusted.

    Parameters
    ----------
    scenario : Scenario
        The market, the maker and its limits.
    seed, first_path, paths : int
        As for `simulate`.
    stop : ndarray of int32, shape (1,), optional
        Once another thread sets it, this returns within a few steps, and what it returns is not to be used.
    policy : Policy, optional
        The maker's own, from `mcmm.policies.policy_of`.

    Returns
    -------
    numpy.ndarray of float64, shape (metrics, paths)
        Rows in the order of the scenario's ``columns``.
    """
    values = np.empty((len(scenario.columns), paths))
    make_plan(scenario, None, policy).run(seed, first_path, values, None, stop)
    return values


def widened(values: NDArray[np.float64], scenario: Scenario, metrics: tuple[str, ...]) -> NDArray[np.float64]:
    """Return paths with the rows of their study's metrics: what only other points report is NaN here."""
    if len(values) >= len(metrics):
        return values
    wide = np.full((len(metrics), values.shape[1]), np.nan)
    places = {name: place for place, name in enumerate(metrics)}
    wide[[places[name] for name in scenario.columns]] = values
    return wide


class Resumed(NamedTuple):
    """Paths that ran until their drawdown passed a level.

    Attributes
    ----------
    entrances : ndarray of int8, shape (paths, bytes of a state)
        Their states as they passed it.
    crossed : ndarray of int64, shape (paths,)
        The step at which that goes on; -1 where a path ended before.
    reached : ndarray of float64, shape (paths,)
        The largest drawdown, dollars; of a path that passed as of then.
    path_steps : int
        Steps of lanes that were computed.
    """

    entrances: NDArray[np.int8]
    crossed: NDArray[np.int64]
    reached: NDArray[np.float64]
    path_steps: int


def resume_rows(
    scenario: Scenario,
    seed: int,
    paths: int,
    at_fair: bool,
    level: float,
    states: NDArray[np.int8] | None = None,
    starts: NDArray[np.int64] | None = None,
) -> Resumed:
    """Run paths of one market until their largest drawdown passes a level; arguments are trusted.

    Parameters
    ----------
    scenario : Scenario
        Of one market, without a policy of one's own.
    seed : int
        Of the draws from where the paths start.
    paths : int
        How many.
    at_fair : bool
        Whether the drawdown is `max_drawdown_fair`, else `max_drawdown`.
    level : float
        Dollars.
    states, starts : ndarray, optional
        Where they start, as `Resumed` has it, sorted by step; at the beginning if left out.
    """
    plan = make_plan(scenario, None, None)
    assert isinstance(plan, core.Plan)
    entrances = np.zeros((paths, core.state_bytes(plan)), dtype=np.int8)
    crossed, reached = np.full(paths, -1, dtype=np.int64), np.zeros(paths)
    steps = core.run_until(plan, seed, 0, at_fair, level, states, starts, entrances, crossed, reached)
    return Resumed(entrances, crossed, reached, steps)


def core_info() -> dict[str, Any]:
    """Return what runs the paths: instruction set, compiler, versions and machine."""
    return {
        "isa": core.isa(),
        "compiler": core.compiler(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
    }


def core_builds() -> tuple[str, ...]:
    """Return the instruction sets that MCMM_ISA can choose here, best first."""
    return builds()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_name(
    values: NDArray[np.float64], names: tuple[str, ...], scenario: Scenario
) -> dict[str, NDArray[np.float64]]:
    """Return what the core wrote by column, path by path, and market by market of each."""
    columns = ((name, values[..., place]) for place, name in enumerate(names))
    return {
        name: np.ascontiguousarray(column.swapaxes(0, 1) if scenario.markets else column)
        for name, column in columns
    }


def _whole(name: str, value: object, low: int, high: int, also: str = "") -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name}: must be a whole number >= {low} and <= {high}{also}, got {value!r}")


def _run(
    plan: core.Plan | core.PortfolioPlan,
    seed: int,
    first_path: int,
    values: NDArray[np.float64],
    trace: NDArray[np.float64],
    checkpoints: NDArray[np.float64],
    size: int,
    jobs: int,
    progress: Callable[[int, int], object] | None,
) -> None:
    """Run slices on threads, so that this one stays free for progress and Ctrl-C.

    A third of a slice is over before either is missed, and is run on this one: threads would take 0.2 ms.
    """
    paths = values.shape[1]
    stop = np.zeros(1, dtype=np.int32)

    def one(begin: int, end: int) -> int:
        parts = [kept[..., begin:end, :, :] for kept in (trace, checkpoints)]
        # The core writes arrays without gaps, and of several markets a slice's rows lie a market apart.
        own = [np.ascontiguousarray(part) for part in parts]
        plan.run(seed, first_path + begin, values[:, begin:end], own[0], stop, own[1])
        for part, written in zip(parts, own, strict=True):
            if written is not part:
                part[...] = written
        return end - begin

    if 3 * -(-paths // core.BLOCK) <= size // core.BLOCK:
        one(0, paths)
        if progress is not None:
            progress(paths, paths)
        return
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

    slices = ((begin, min(begin + size, paths)) for begin in range(0, paths, size))
    running: set[Future[int]] = set()
    done = 0
    with ThreadPoolExecutor(jobs, thread_name_prefix="mcmm") as pool:
        try:
            while done < paths:
                while len(running) < jobs + 1 and (bounds := next(slices, None)):
                    running.add(pool.submit(one, *bounds))
                finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                done += sum(future.result() for future in finished)
                if progress is not None:
                    progress(done, paths)
        finally:
            stop[0] = 1
