"""simulate: its arguments, its slices, progress, interruption and what it says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

import mcmm
from mcmm import engine
from mcmm._isa import BUILDS, builds, core, load
from mcmm.errors import InputError, ScenarioError
from mcmm.metrics import NAMES

SHORT = mcmm.Scenario(steps=40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": 0}, "paths: must be a whole number >= 1 and <= 100000000, got 0"),
        ({"paths": 10**12}, "paths: must be a whole number >= 1 and <= 100000000, got 1000000000000"),
        ({"paths": 2.0}, "paths: must be a whole number"),
        ({"paths": True}, "paths: must be a whole number"),
        ({"paths": 1, "seed": -1}, "seed: must be a whole number >= 0 and <= 18446744073709551615, got -1"),
        ({"paths": 1, "seed": 2**64}, "seed: must be"),
        ({"paths": 1, "first_path": 2**48}, "first_path: must be"),
        ({"paths": 3, "trace_paths": 4}, "trace_paths: must be a whole number >= 0 and <= 3, got 4"),
        (
            {"paths": 1, "jobs": 0},
            "jobs: must be a whole number >= 1 and <= 1024, or -1 for one a core, got 0",
        ),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        mcmm.simulate(SHORT, **arguments)
    assert message in str(error.value)


def test_a_trace_too_large_for_memory_is_refused() -> None:
    with pytest.raises(InputError, match=r"trace_paths: must be <= 62 with 100000 steps, got 100"):
        mcmm.simulate(mcmm.Scenario(steps=100_000), paths=100, trace_paths=100)


def test_only_a_scenario_is_simulated() -> None:
    with pytest.raises(InputError, match="scenario: must be a Scenario, got dict"):
        mcmm.simulate({"steps": 10}, paths=1)


def test_the_rows_are_the_metrics() -> None:
    assert len(NAMES) == core.METRIC_ROWS
    assert mcmm.simulate(SHORT, paths=3).values.shape == (len(NAMES), 3)


def test_run_rows_is_simulate_without_the_frame() -> None:
    rows = engine.run_rows(SHORT, 7, 100, 65)
    run = mcmm.simulate(SHORT, seed=7, first_path=100, paths=65)
    np.testing.assert_array_equal(rows, run.values)


def test_seeds_and_paths_at_the_ends_of_their_ranges() -> None:
    low = mcmm.simulate(SHORT, paths=2, seed=0).values
    high = mcmm.simulate(SHORT, paths=2, seed=2**64 - 1).values
    last = mcmm.simulate(SHORT, paths=2, first_path=2**48 - 2).values
    assert not np.array_equal(low, high, equal_nan=True)
    assert not np.array_equal(low, last, equal_nan=True)


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    mcmm.simulate(
        mcmm.Scenario(steps=500), paths=40_000, progress=lambda done, total: seen.append((done, total))
    )
    assert len(seen) > 3
    assert seen[-1] == (40_000, 40_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_ctrl_c_stops_within_a_second_even_inside_one_block() -> None:
    scenario = mcmm.Scenario(steps=50_000_000)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        mcmm.simulate(scenario, paths=1)
    assert time.monotonic() - started < 1.3


def test_the_provenance_says_what_ran() -> None:
    provenance = mcmm.simulate(SHORT, paths=10).provenance
    assert provenance["mcmm"] == mcmm.__version__
    assert provenance["isa"] in BUILDS
    assert provenance["path_steps_per_second"] > 0


def test_the_best_build_is_chosen_and_an_unknown_one_refused() -> None:
    assert set(builds()) <= set(core.supported())
    assert os.environ.get("MCMM_ISA") or core.isa() == builds()[0]
    with pytest.raises(InputError, match="MCMM_ISA: must be one of avx512, avx2, baseline, got 'sse9'"):
        load("sse9")


def test_a_stopped_run_comes_back_at_once() -> None:
    started = time.monotonic()
    engine.run_rows(mcmm.Scenario(steps=50_000_000), 0, 0, 1, np.ones(1, dtype=np.int32))
    assert time.monotonic() - started < 1.0


MEMORY = """
import resource
import mcmm, pandas, pyarrow
from mcmm import engine, simulation
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
run = mcmm.simulate(mcmm.Scenario(steps=1000), paths=100_000, seed=7)
run.summary(), run.paths
print(peak() - before)
"""


def test_a_hundred_thousand_paths_need_under_150_megabytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 150


class TestOrders:
    def run(self, scenario: mcmm.Scenario = SHORT, **columns: object) -> mcmm.Simulation:
        return mcmm.simulate(scenario, orders=pd.DataFrame(columns), paths=1, trace_paths=1)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"step": [0], "side": [1]}, "orders: must have a column size, got step, side"),
            ({"step": [0], "side": [1], "size": [1], "venue": [1]}, "orders: columns must be"),
            (
                {"step": [40], "side": [1], "size": [1]},
                "orders.step: must be a whole number >= 0 and < steps (40)",
            ),
            (
                {"step": [0, 1], "side": [1, 0], "size": [1, 1]},
                "orders.side: must be 1 (buys) or -1 (sells), got 0",
            ),
            ({"step": [0], "side": [1], "size": [0.5]}, "orders.size: must be a whole number >= 1"),
            (
                {"step": [0], "side": ["buy"], "size": [1]},
                "orders.side: must be 1 (buys) or -1 (sells), got a column",
            ),
            (
                {"step": [0], "side": [1], "size": [1], "fair": [1.5]},
                "orders.fair: must be a probability, got 1.5",
            ),
            ({"step": [0], "side": [1], "size": [1], "limit": [np.inf]}, "orders.limit: must be a price"),
            ({"step": [0], "side": [1], "size": [1], "limit": [-np.inf]}, "orders.limit: must be a price"),
            ({"step": [np.nan], "side": [1], "size": [1]}, "orders.step: must be a whole number"),
        ],
    )
    def test_wrong_orders_are_named(self, columns: dict[str, object], message: str) -> None:
        with pytest.raises(InputError) as error:
            self.run(**columns)
        assert message in str(error.value)

    def test_only_a_frame_with_each_column_once_is_orders(self) -> None:
        with pytest.raises(InputError, match="orders: must be a DataFrame, got dict"):
            mcmm.simulate(SHORT, orders={"step": [0]}, paths=1)
        twice = pd.DataFrame([[0, 1, 1, 1]], columns=["step", "side", "size", "size"])
        with pytest.raises(InputError, match="orders: must have each column once"):
            mcmm.simulate(SHORT, orders=twice, paths=1)

    def test_the_first_order_of_a_step_trades_and_the_last_fair_value_counts(self) -> None:
        trace = self.run(step=[3, 3], side=[1, -1], size=[2, 5], fair=[0.6, 0.7]).trace
        assert trace.loc[3, "sold"] == 2
        assert trace.loc[3, "bought"] == 0
        assert trace.loc[4, "probability"] == 0.7

    def test_a_limit_is_kept(self) -> None:
        trace = self.run(step=[0, 1, 2], side=[1, 1, -1], size=[1, 1, 1], limit=[0.51, 0.52, np.nan]).trace
        assert trace["sold"].tolist()[:3] == [0, 1, 0]
        assert trace["bought"].tolist()[:3] == [0, 0, 1]

    def test_a_replay_needs_orders(self) -> None:
        with pytest.raises(InputError, match="orders: must be given"):
            mcmm.simulate(SHORT.replace({"flow.model": "replay"}), paths=1)

    def test_a_replay_refuses_other_randomness(self) -> None:
        with pytest.raises(
            ScenarioError, match=r"recovery.disconnect_rate: must be 0 with flow.model replay"
        ):
            self.run(SHORT.replace({"recovery.disconnect_rate": 0.1}), step=[0], side=[1], size=[1])

    def test_no_orders_at_all_is_a_quiet_market(self) -> None:
        run = self.run(step=[], side=[], size=[])
        assert run.paths.loc[0, "fills"] == 0
