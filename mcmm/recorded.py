"""Replay: a maker's settings through a recorded market, a path a contract, in the compiled core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.engine import simulate
from mcmm.errors import InputError
from mcmm.simulation import Simulation

if TYPE_CHECKING:
    import pandas as pd

    from mcmm.scenario import Scenario
    from mcmm.tape import RecordedPath, Tape

__all__ = ["Replay", "maker_of", "replay"]

# What a tape takes the place of, back to its default. The volatility that the maker reckons with stays.
_OF_THE_MARKET: dict[str, Any] = {
    "flow.informed_know": "probability",
    "schedule.arrival_rate": (),
    "schedule.informed_fraction": (),
    "schedule.volatility": (),
    "schedule.news": (),
    "schedule.pauses": (),
}
# What the maker would draw, in a path that has no randomness but its outcome's.
_DRAWN = ("quoting.reference_noise", "recovery.disconnect_rate")


def maker_of(scenario: Scenario) -> Scenario:
    """Return a scenario without what a tape takes the place of; `RecordedPath.scenario` does the rest.

    Raises
    ------
    InputError
        If it has several markets, a process without an outcome, or an order book.
    """
    if scenario.markets:
        raise InputError("scenario: must be of one market to be replayed: each contract is a path of it")
    if not scenario.bounded:
        raise InputError(
            f"scenario: market.process must not be {scenario.market.process} to be replayed: a tape's prices "
            "are chances"
        )
    if scenario.venue == "book":
        raise InputError(
            "scenario: venue must not be book to be replayed: a tape's prints were made in a book of "
            "their own"
        )
    return scenario.replace({**_OF_THE_MARKET, **dict.fromkeys(_DRAWN, 0.0)})


@dataclass(frozen=True, eq=False, repr=False)
class Replay:
    """What a maker's settings did in a recorded market.

    Attributes
    ----------
    simulation : Simulation
        A path for each contract, in the order of ``paths``, with every metric that a simulation has. Its
        scenario is the maker's, with as many steps as the longest path.
    paths : tuple of RecordedPath
        The contracts as they were cut.
    traces : dict of str to Simulation
        By contract, one path with its trace, of those that were asked for.
    """

    simulation: Simulation
    paths: tuple[RecordedPath, ...]
    traces: dict[str, Simulation]

    @property
    def trace(self) -> pd.DataFrame:
        """Every step of the traced contracts: contract and time, then a simulation's columns."""
        import pandas as pd

        if not self.traces:
            raise InputError("trace: no contract was traced; replay with traces=K to record the first K")
        frames = []
        for path in self.paths:
            if path.contract in self.traces:
                frame = self.traces[path.contract].trace.copy()
                frame.insert(0, "contract", path.contract)
                frame.insert(1, "time", pd.DatetimeIndex(path.times, tz="UTC"))
                frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        """Say what was replayed, in a line."""
        return f"Replay({len(self.paths):,} contracts x up to {self.simulation.scenario.steps:,} steps)"


def replay(
    tape: Tape,
    scenario: Scenario,
    *,
    step: float | None = None,
    capture: float = 1.0,
    merge: bool = False,
    contracts: Sequence[str] | None = None,
    seed: int = 0,
    traces: int | Sequence[str] = 0,
    policy: object = None,
    progress: Callable[[int, int], object] | None = None,
) -> Replay:
    """Run a maker's settings through a recorded market.

    Parameters
    ----------
    tape : Tape
        What was recorded.
    scenario : Scenario
        The maker, its limits and its beliefs; of one market. The tape takes the place of its takers and of
        its market's way, the tape's first price that of its first fair value.
    step, capture, merge
        How contracts are cut into steps; see `mcmm.tape.Tape.cut`.
    contracts : sequence of str, optional
        Which; all that have a print after their first price if left out.
    seed : int
        Of the outcomes that the tape does not know: path i settles at 1 with the chance that its last fair
        value is.
    traces : int or sequence of str
        Which contracts to record step by step: by name, or so many of the first.
    policy : optional
        Who quotes where ``quoting.policy`` is custom; see `mcmm.simulate`.
    progress : callable, optional
        Called as ``progress(done_contracts, contracts)``.

    Returns
    -------
    Replay

    Raises
    ------
    InputError
        If the scenario has several markets or a process without an outcome, no contract can be cut, or an
        argument is out of its range.
    ScenarioError
        If a setting contradicts a replay.
    """
    maker = maker_of(scenario)
    names = list(contracts) if contracts is not None else list(tape.contracts.index)
    paths, short = [], 0
    for name in names:
        if contracts is None and not _printed(tape, name):
            short += 1
        else:
            paths.append(tape.cut(name, step=step, capture=capture, merge=merge))
    if not paths:
        raise InputError(
            f"{tape.source}: must have a contract with two prints, or with a quote before a print"
        )
    drawn = {name: scenario.get(name) for name in _DRAWN if scenario.get(name)}
    traced = {path.contract for path in paths[:traces]} if isinstance(traces, int) else set(traces)
    if strange := sorted(traced - {path.contract for path in paths}):
        raise InputError(f"traces: must be contracts that are replayed, got {strange[0]!r}")
    rows, recorded, seconds, started = [], {}, 0.0, time.perf_counter()
    provenance: dict[str, Any] = {}
    for place, path in enumerate(paths):
        run = simulate(
            path.scenario(maker),
            paths=1,
            seed=seed,
            first_path=place,
            orders=path.orders,
            trace_paths=int(path.contract in traced),
            policy=policy,
        )
        rows.append(run.values)
        seconds += run.provenance["seconds"]
        provenance = provenance or run.provenance
        if path.contract in traced:
            recorded[path.contract] = run
        if progress is not None:
            progress(place + 1, len(paths))
    steps = sum(path.steps for path in paths)
    prints = sum(int((path.orders["limit"] > 0).sum()) for path in paths)
    longest = max(paths, key=lambda path: path.steps)
    simulation = Simulation(
        longest.scenario(maker),
        seed,
        0,
        np.concatenate(rows, axis=1),
        provenance=provenance
        | {
            "seconds": time.perf_counter() - started,
            "path_steps_per_second": steps / seconds,
            "replay": _account(tape, paths, short, drawn, step, capture, merge)
            | {"prints": prints, "steps": steps, "events_per_second": prints / seconds},
        },
    )
    return Replay(simulation, tuple(paths), recorded)


def _printed(tape: Tape, name: str) -> bool:
    """Whether a contract has a print that there is a price before."""
    prints, quotes = tape.of(name)
    if len(prints) != 1:
        return len(prints) > 1
    return bool((quotes["time"] < prints["time"].iloc[0]).any())


def _account(
    tape: Tape,
    paths: Sequence[RecordedPath],
    short: int,
    drawn: Mapping[str, float],
    step: float | None,
    capture: float,
    merge: bool,
) -> dict[str, Any]:
    """Say what was replayed and how, for the run's provenance."""
    from mcmm.tape_formats import counted

    known = sum(not math.isnan(path.outcome) for path in paths)
    notes = list(tape.notes)
    if extra := sum(path.extra_steps for path in paths):
        notes.append(f"{counted(extra, 'step')} beyond the clock's, for further prints of one interval.")
    for name, value in drawn.items():
        notes.append(f"{name} is {value:g} in the scenario and 0 in a replay, which draws nothing.")
    if short:
        notes.append(f"{counted(short, 'contract')} left out: no print after the first price.")
    if known < len(paths):
        notes.append(
            f"The outcome of {counted(len(paths) - known, 'contract')} is not known: it is drawn as 1 with "
            "the chance that the last price is."
        )
    return {
        "tape": tape.source,
        **({} if step is None else {"step": step}),
        "cut": "by event, a step a print" if step is None else f"by wall time, a step every {step:g} s",
        "capture": capture,
        "merged": merge,
        "contracts": [path.contract for path in paths],
        "outcomes_known": known,
        "notes": notes,
    }
