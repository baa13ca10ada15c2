from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mcmm.files
from mcmm.errors import InputError, MCMMError
from mcmm.metrics import HALT_REASONS, METRICS, NAMES
from mcmm.scenario import Scenario
from mcmm.simulation import SCHEMA_VERSION, Simulation
from mcmm.statistics import expected_shortfall, proportion, quantile, value_at_risk
from mcmm.summaries import summarise

PATHS = 40
PROVENANCE = {"mcmm": "9.8.7", "isa": "avx2", "cores": 2, "wall_seconds": 0.125, "limit": math.inf}


def made_up_values(paths: int = PATHS) -> np.ndarray:
    random = np.random.default_rng(11)
    values = random.standard_normal((len(NAMES), paths)) * 10.0
    for row, name in enumerate(NAMES):
        if METRICS[name].whole:
            values[row] = np.floor(values[row])
    halted = np.arange(paths) % 5 == 2
    values[NAMES.index("trips")] = halted
    values[NAMES.index("halt_step")] = np.where(halted, 3.0, -1.0)
    values[NAMES.index("halt_reason")] = np.where(halted, 1.0 + np.arange(paths) % 3, 0.0)
    values[NAMES.index("breaker_overshoot"), ~halted] = np.nan
    # What a careless format would lose.
    values[NAMES.index("pnl"), : min(paths, 5)] = [-0.0, 1 / 3, 1e-300, -1e22, 0.1 + 0.2][:paths]
    return values


def made_up_trace(paths: int = 2, steps: int = 4) -> dict[str, np.ndarray]:
    numbers = np.arange(paths * steps, dtype=float).reshape(paths, steps)
    bid = numbers / 10
    bid[0, 1] = np.nan
    return {"bid": bid, "inventory": numbers - 3, "quoting": (numbers != 1).astype(float), "pnl": numbers / 3}


def made_up(**changes: Any) -> Simulation:
    arguments: dict[str, Any] = {
        "scenario": Scenario(steps=4, risk={"drawdown_limit": 5.0, "volume_limit": 50}),
        "seed": 2**63 + 7,
        "first_path": 1000,
        "values": made_up_values(),
        "trace_values": made_up_trace(),
        "provenance": PROVENANCE,
    }
    return Simulation(**{**arguments, **changes})


def bits(values: np.ndarray) -> bytes:
    """Bytes of an array, with one NaN for all."""
    return np.where(np.isnan(values), np.nan, values).tobytes()


# ---- frames


def test_paths_has_a_row_per_path_and_a_column_per_metric() -> None:
    run = made_up()
    frame = run.paths
    assert list(frame.columns) == list(NAMES)
    assert frame.index.name == "path"
    assert frame.index.tolist() == list(range(1000, 1000 + PATHS))
    for row, name in enumerate(NAMES):
        if name != "halt_reason":
            assert frame[name].dtype == (np.int64 if METRICS[name].whole else np.float64)
            np.testing.assert_array_equal(frame[name], run.values[row])
    assert np.signbit(frame["pnl"].iloc[0])
    assert list(frame["halt_reason"].cat.categories) == list(HALT_REASONS)
    assert frame["halt_reason"].iloc[[0, 2, 7]].tolist() == ["none", "volume", "loss"]
    assert run.paths is frame


def test_a_whole_metric_with_a_gap_stays_a_float() -> None:
    values = made_up_values()
    values[NAMES.index("fills"), 3] = np.nan
    frame = made_up(values=values).paths
    assert frame["fills"].dtype == np.float64
    assert math.isnan(frame["fills"].iloc[3])


def test_what_is_done_to_a_frame_stays_there(tmp_path: Path) -> None:
    run = made_up()
    before = run.values.tobytes()
    run.paths["fills"] = 0
    run.paths.loc[1000, "pnl_fair"] = 1e9
    assert run.values.tobytes() == before
    run.save(tmp_path / "run.parquet")
    assert bits(Simulation.load(tmp_path / "run.parquet").values) == bits(run.values)


def test_values_cannot_be_changed_and_the_callers_array_still_can() -> None:
    values = made_up_values()
    run = made_up(values=values)
    with pytest.raises(ValueError, match="read-only"):
        run.values[0, 0] = 1.0
    with pytest.raises(AttributeError):
        run.seed = 3  # type: ignore[misc]
    assert values.flags.writeable


def test_trace_has_a_row_per_step() -> None:
    frame = made_up().trace
    assert list(frame.columns) == ["path", "step", "bid", "inventory", "quoting", "pnl"]
    assert frame["path"].tolist() == [1000] * 4 + [1001] * 4
    assert frame["step"].tolist() == [0, 1, 2, 3] * 2
    assert frame["inventory"].tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert frame["inventory"].dtype == np.int64
    assert frame["quoting"].tolist() == [True, False, *[True] * 6]
    assert np.flatnonzero(frame["bid"].isna()).tolist() == [1]


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_trace_says_how_to_get_one(nothing: dict[str, np.ndarray] | None) -> None:
    with pytest.raises(InputError, match="trace: no path was traced; simulate with trace_paths=K"):
        _ = made_up(trace_values=nothing).trace


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros((3, 5))}, r"values: must have shape \(31, paths\), got \(3, 5\)"),
        ({"values": np.zeros(31)}, r"values: must have shape \(31, paths\), got \(31,\)"),
        ({"trace_values": {"mid": np.zeros((2, 5))}}, r"mid must have shape .*4 steps\), got \(2, 5\)"),
        ({"trace_values": {"mid": np.zeros((PATHS + 1, 4))}}, r"<= 40 paths, 4 steps\), got \(41, 4\)"),
        ({"trace_values": {"mid": np.zeros(4)}}, r"got \(4,\)"),
    ],
)
def test_wrong_shapes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made_up(**changes)


def test_repr_is_a_line() -> None:
    assert repr(made_up(seed=7)) == "Simulation(40 paths from 1,000 x 4 steps, seed 7)"
    assert repr(made_up(seed=7, first_path=0)) == "Simulation(40 paths x 4 steps, seed 7)"


def test_it_can_be_sent_to_another_process() -> None:
    run = made_up()
    copy = pickle.loads(pickle.dumps(run))
    assert bits(copy.values) == bits(run.values)
    assert (copy.scenario, copy.seed, copy.provenance) == (run.scenario, run.seed, run.provenance)


# ---- summaries


@pytest.mark.filterwarnings("error")
def test_summary_is_that_of_a_sweep_and_more() -> None:
    run = made_up()
    frame, flat = run.summary(), summarise(run.values, NAMES)
    assert list(frame.index) == [name for name in NAMES if name != "halt_reason"]
    assert frame.index.name == "metric"
    assert list(frame.columns) == [
        *("mean", "standard_error", "sd", "p01", "p05", "p50", "p95", "p99"),
        *("value_at_risk_95", "value_at_risk_99"),
        *("expected_shortfall_95", "expected_shortfall_95_standard_error"),
        *("expected_shortfall_99", "expected_shortfall_99_standard_error", "count"),
    ]
    shared = 0
    for key, value in flat.items():
        metric, column = key.split(".")
        if metric in frame.index and column in frame.columns:
            np.testing.assert_array_equal(frame.loc[metric, column], value, err_msg=key)
            shared += 1
    # Chances are in chances(); means with control variates and settlement are a sweep's.
    assert shared == len(flat) - 8 - 9 - 2
    assert frame.loc["fills", "p95"] == quantile(run.values[0], 0.95)
    assert math.isnan(frame.loc["fills", "value_at_risk_95"])
    assert frame.loc["breaker_overshoot", "count"] == frame.loc["halt_step", "count"] == 8
    assert frame.loc["halt_step", "p05"] == 3.0


def test_summary_at_other_levels() -> None:
    run = made_up()
    frame, pnl = run.summary(quantiles=[0.25], levels=[0.9]), run.values[NAMES.index("pnl_settled")]
    assert frame.loc["pnl_settled", "p25"] == quantile(pnl, 0.25)
    assert frame.loc["pnl_settled", "value_at_risk_90"] == value_at_risk(pnl, 0.9)
    assert frame.loc["pnl_settled", "expected_shortfall_90"] == expected_shortfall(pnl, 0.9).value
    assert "p50" not in frame.columns
    with pytest.raises(InputError, match=r"probability: must be between 0 and 1, got 5"):
        run.summary(quantiles=[5])
    with pytest.raises(InputError, match=r"level: must be strictly between 0 and 1, got 95"):
        run.summary(levels=[95])


@pytest.mark.filterwarnings("error")
def test_one_path_has_a_summary() -> None:
    frame = made_up(values=made_up_values(1), trace_values=None).summary()
    assert frame.loc["volume", "mean"] == frame.loc["volume", "p99"]
    assert frame["standard_error"].isna().all()
    assert frame.loc["halt_step", "count"] == 0


def test_chances() -> None:
    values = made_up_values()
    values[NAMES.index("pnl_settled"), 0] = 0.0
    run = made_up(values=values)
    frame = run.chances()
    # No row for the loss breaker, which the scenario does not set.
    assert list(frame.index) == ["loss", "halt", "halt_drawdown", "halt_volume"]
    losses = int((run.values[NAMES.index("pnl_settled")] < 0).sum())
    assert tuple(frame.loc["loss"]) == (losses, PATHS, *proportion(losses, PATHS))
    assert frame["hits"].tolist()[1:] == [8, 2, 3]
    wider = run.chances(confidence=0.99)
    assert (wider["high"] > frame["high"]).all()
    with pytest.raises(InputError, match="confidence: must be strictly between 0 and 1, got 99"):
        run.chances(confidence=99)


# ---- files


def test_parquet_comes_back_bit_for_bit(tmp_path: Path) -> None:
    run = made_up()
    run.save(tmp_path / "run.parquet")
    back = Simulation.load(tmp_path / "run.parquet")
    assert bits(back.values) == bits(run.values)
    assert np.signbit(back.values[NAMES.index("pnl"), 0])
    assert (back.scenario, back.seed, back.first_path) == (run.scenario, 2**63 + 7, 1000)
    assert back.provenance == PROVENANCE
    assert back.trace_values is None
    pd.testing.assert_frame_equal(back.paths, run.paths)
    assert os.listdir(tmp_path) == ["run.parquet"]


def test_other_tools_read_the_parquet(tmp_path: Path) -> None:
    run = made_up()
    run.save(str(tmp_path / "RUN.PARQUET"))
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "RUN.PARQUET"), run.paths, check_index_type=False
    )
    table = pq.read_table(tmp_path / "RUN.PARQUET")
    assert table.column_names == ["path", *NAMES]
    assert table.column("breaker_overshoot").null_count == PATHS - 8
    mark = json.loads(table.schema.metadata[b"mcmm"])
    assert (mark["schema"], mark["version"], mark["seed"]) == (SCHEMA_VERSION, "9.8.7", 2**63 + 7)
    assert Scenario.loads(mark["scenario"]) == run.scenario


def test_csv_and_what_lies_beside_it(tmp_path: Path) -> None:
    run = made_up()
    run.save(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert lines[0] == ",".join(("path", *NAMES))
    assert len(lines) == 1 + PATHS
    for path, line in enumerate(lines[1:]):
        number, *cells = line.split(",")
        assert int(number) == 1000 + path
        for name, cell, value in zip(NAMES, cells, run.values[:, path], strict=True):
            if name == "halt_reason":
                assert cell == HALT_REASONS[int(value)]
            else:
                assert (cell == "") if math.isnan(value) else (float(cell) == value), name
    beside = tomllib.loads((tmp_path / "run.csv.toml").read_text())
    assert beside["mcmm"] == {
        "version": "9.8.7",
        "schema": SCHEMA_VERSION,
        "seed": 2**63 + 7,
        "first_path": 1000,
        "paths": PATHS,
    }
    assert beside["provenance"] == PROVENANCE
    assert Scenario.from_dict(beside["scenario"]) == run.scenario


@pytest.mark.parametrize("paths", [0, 1])
def test_hardly_any_paths_can_be_saved(tmp_path: Path, paths: int) -> None:
    run = made_up(values=made_up_values(paths), trace_values=None, provenance={})
    run.save(tmp_path / "run.parquet")
    run.save(tmp_path / "run.csv")
    assert bits(Simulation.load(tmp_path / "run.parquet").values) == bits(run.values)


def test_saving_replaces_and_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.parquet"
    made_up(seed=1).save(target)
    made_up(seed=2).save(target)
    assert Simulation.load(target).seed == 2

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mcmm.files.os, "fsync", full)
    with pytest.raises(InputError, match=r"run\.parquet: cannot be written: No space left on device"):
        made_up(seed=3).save(target)
    assert Simulation.load(target).seed == 2
    assert os.listdir(tmp_path) == ["run.parquet"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.xlsx", r"run\.xlsx: must end in \.parquet or \.csv"),
        ("run", r"run: must end in \.parquet or \.csv"),
        ("nowhere/run.parquet", r"run\.parquet: cannot be written: No such file or directory"),
        ("nowhere/run.csv", "cannot be written: No such file or directory"),
        ("folder.parquet", r"folder\.parquet: cannot be written: Is a directory"),
    ],
)
def test_where_it_cannot_be_saved(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(InputError, match=message):
        made_up().save(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.parquet"]


def altered(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def remarked(path: Path, **changes: Any) -> None:
    def change(table: pa.Table) -> pa.Table:
        mark = {**json.loads(table.schema.metadata[b"mcmm"]), **changes}
        return table.replace_schema_metadata({**table.schema.metadata, b"mcmm": json.dumps(mark)})

    altered(path, change)


def with_reasons(table: pa.Table) -> pa.Table:
    reasons = pa.array(["boredom"] * table.num_rows)
    return table.set_column(table.column_names.index("halt_reason"), "halt_reason", reasons)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), "is no Parquet file, or a damaged one"),
        (lambda path: path.write_text("steps = 1000\n"), "is no Parquet file, or a damaged one"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is no Parquet file, or a damaged one"),
        (lambda path: altered(path, lambda table: table.replace_schema_metadata({})), "holds no simulation"),
        (lambda path: remarked(path, kind="chunk"), "holds no simulation"),
        (lambda path: remarked(path, schema=2), r"has schema version 2, written by mcmm 9\.8\.7; .* reads 1"),
        (lambda path: remarked(path, scenario="steps = -1"), r"run\.parquet: scenario: steps: must be"),
        (lambda path: altered(path, lambda table: table.drop_columns(["pnl"])), "has no column pnl"),
        (lambda path: altered(path, lambda table: table.slice(1)), "not the ones from 1000 on, in order"),
        (lambda path: altered(path, with_reasons), "column halt_reason holds what is no value of it"),
    ],
)
def test_files_that_are_no_simulation(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "run.parquet"
    made_up().save(path)
    damage(path)
    with pytest.raises(MCMMError, match=message) as caught:
        Simulation.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_damaged_rows_are_found(tmp_path: Path) -> None:
    """A byte turned anywhere in the data is refused, or was in what no value depends on."""
    run = made_up(values=made_up_values(500))
    path = tmp_path / "run.parquet"
    run.save(path)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    random = np.random.default_rng(13)
    refused = 0
    for place in random.integers(4, footer, 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << int(place) % 8)]) + whole[place + 1 :])
        try:
            assert bits(Simulation.load(path).values) == bits(run.values)
        except InputError:
            refused += 1
    assert refused > 50


def test_importing_it_is_cheap() -> None:
    code = (
        "import sys, mcmm.simulation;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pandas', 'pyarrow', 'scipy', 'rich'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
