"""Tapes of simulated paths: what a recorder would have seen of them, in the plain formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmm.errors import InputError
from mcmm.files import write_whole
from mcmm.tape import Tape

if TYPE_CHECKING:
    import pandas as pd

    from mcmm.simulation import Simulation

__all__ = ["quotes_beside", "tape_of", "write_tape"]


def tape_of(run: Simulation, seconds: float = 1.0) -> Tape:
    """Return what was traded and quoted on the traced paths of a simulation.

    Parameters
    ----------
    run : Simulation
        Of one market, with traced paths.
    seconds : float
        Length of a step. Step t is quoted at t * seconds since 1970 and traded half a step later, so that a
        cut into steps of this length gives the steps back.

    Returns
    -------
    Tape
        A contract for each traced path, ``path-0`` and so on, settled as the path was. Its prints are the
        maker's fills: takers who did not trade leave no print, and of one who did the part that was filled.

    Raises
    ------
    InputError
        If the simulation has several markets or no traces, or the process has prices that are no chances.
    """
    import pandas as pd

    if run.scenario.markets or not run.scenario.bounded:
        raise InputError("tape: must be of one market whose prices are chances")
    trace = run.trace
    name = ("path-" + trace["path"].astype(str)).astype(object)
    step = trace["step"].to_numpy()
    bought, sold = trace["bought"].to_numpy(), trace["sold"].to_numpy()
    frames = []
    for size, side, quote in ((sold, 1, "ask"), (bought, -1, "bid")):
        here = size > 0
        frames.append(
            pd.DataFrame(
                {
                    "contract": name[here],
                    "time": _time(step[here] + 0.5, seconds),
                    "side": side,
                    "size": size[here].astype(np.int64),
                    "price": trace[quote].to_numpy()[here],
                }
            )
        )
    prints = pd.concat(frames).sort_values("time", kind="stable", ignore_index=True)
    bid, ask = trace["bid"].to_numpy(), trace["ask"].to_numpy()
    quotes = pd.DataFrame(
        {
            "contract": name,
            "time": _time(step, seconds),
            "bid": bid,
            "ask": ask,
            "bid_size": trace["bid_size"].to_numpy(dtype=np.float64),
            "ask_size": trace["ask_size"].to_numpy(dtype=np.float64),
            "mid": (bid + ask) / 2,
        }
    )[np.isfinite(bid + ask)].sort_values("time", kind="stable", ignore_index=True)
    names = pd.Index(name.unique(), name="contract")
    contracts = pd.DataFrame(index=names, columns=["opens", "expires"], dtype="datetime64[ns, UTC]")
    contracts["outcome"] = run.paths["outcome"].to_numpy()[: len(names)]
    contracts["outcome_from"] = "given"
    return Tape(repr(run), prints, quotes, contracts, own_trades=False, notes=())


def write_tape(tape: Tape, path: Path) -> tuple[Path, ...]:
    """Write a tape in the plain formats: prints, and beside them quotes and outcomes.

    Parameters
    ----------
    tape : Tape
        What to write.
    path : Path
        Of the prints; ``NAME.quotes.csv`` and ``NAME.outcomes.csv`` lie beside ``NAME.csv``.

    Returns
    -------
    tuple of Path
        The files: prints, and quotes and outcomes where there are any.

    Raises
    ------
    InputError
        If one cannot be written.
    """
    outcomes = tape.contracts["outcome"].dropna().astype(int).reset_index()
    parts = [
        (path, tape.prints),
        (quotes_beside(path), tape.quotes.drop(columns="mid")),
        (path.with_suffix(f".outcomes{path.suffix}"), outcomes),
    ]
    written = []
    for place, frame in parts:
        if len(frame) or place == path:
            write_whole(place, frame.to_csv(index=False).encode(), durable=False)
            written.append(place)
    return tuple(written)


def quotes_beside(path: Path) -> Path:
    """Return where the quotes of a tape that `write_tape` wrote lie."""
    return path.with_suffix(f".quotes{path.suffix}")


def _time(steps: object, seconds: float) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.to_datetime(np.rint(np.asarray(steps) * (seconds * 1e9)).astype(np.int64), utc=True)
