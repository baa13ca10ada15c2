"""Small studies, and what it means that two sweeps are the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mcmm
from mcmm.files import digest
from mcmm.metrics import NAMES
from mcmm.records import Record, encode_records, mark_of
from mcmm.store import SweepResult
from mcmm.study import Study

SPREADS = [0.02, 0.04, 0.06]
LIMITS = [50, 100]


def small_study(**changes: Any) -> Study:
    """3 x 2 points of 300 paths x 50 steps, in one chunk."""
    tables: dict[str, Any] = {
        "name": "small",
        "scenario": {"steps": 50, "risk": {"drawdown_limit": 1.0}},
        "paths": 300,
        "seed": 7,
        "points": {"axes": {"quoting.base_spread": SPREADS, "risk.inventory_limit": LIMITS}},
    }
    return Study(**{**tables, **changes})


def many_chunks(steps: int = 500) -> Study:
    """30 points, each a chunk of some 20 ms of work."""
    spreads = {"low": 0.02, "high": 0.2, "count": 30}
    return small_study(
        scenario={"steps": steps}, paths=4000, points={"axes": {"quoting.base_spread": spreads}}
    )


def assert_same(one: SweepResult, other: SweepResult) -> None:
    """Every value is the same, bit for bit."""
    assert one.study.to_dict() == other.study.to_dict()
    pd.testing.assert_frame_equal(one.points, other.points, check_exact=True)
    assert list(one.summary.columns) == list(other.summary.columns)
    assert one.summary.to_numpy().tobytes() == other.summary.to_numpy().tobytes()
    for point in range(one.study.count):
        rows, others = one.paths(point), other.paths(point)
        pd.testing.assert_frame_equal(rows, others, check_exact=True)
        for name in rows.select_dtypes("float64"):
            assert rows[name].to_numpy().tobytes() == others[name].to_numpy().tobytes(), (point, name)


def chunk_files(directory: Path) -> list[Path]:
    """The finished chunks of a run directory."""
    return sorted((directory / "chunks").glob("[0-9]*.parquet"))


def finished_chunks(directory: Path) -> int:
    """How many chunks a run directory has."""
    ranges = [path.name.split("-")[:2] for path in chunk_files(directory)]
    return len({chunk for first, last in ranges for chunk in range(int(first), int(last) + 1)})


def scatter(result: SweepResult, keep: range) -> list[Path]:
    """Put a finished sweep back to where it had these chunks only, each in a file of its own."""
    (round_,) = result._run.rounds
    files = []
    kept: dict[int, list[Record]] = {chunk: [] for chunk in keep}
    for record in round_.records.all():
        chunk = round_.plan.place(record.point, record.part.first_path)
        if chunk in kept:
            kept[chunk].append(record)
    for path in chunk_files(result.directory):
        path.unlink()
    for chunk, records in kept.items():
        data = encode_records(records, NAMES, mark_of(round_.digest, chunk, chunk + 1))
        files.append(result.directory / "chunks" / f"{chunk:06d}-{chunk:06d}-{digest(data)}.parquet")
        files[-1].write_bytes(data)
    return files


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another Python that runs this code with the same mcmm."""
    places = [Path(__file__).parent, Path(mcmm.__file__).parents[1], os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
    )


def whole_numbers(values: np.ndarray) -> bool:
    """Whether there is no fraction in them."""
    return bool(np.array_equal(values, np.round(values)))
