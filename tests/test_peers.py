"""The benchmark's peers simulate the same bot as the core, and each other."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import mcmm
from mcmm.engine import run_rows
from mcmm.metrics import NAMES

PATHS = 20_000
STEPS = 1_000


def load_benchmarks() -> ModuleType:
    """The clone's benchmarks package, imported without putting the clone before an installed mcmm."""
    if "benchmarks" not in sys.modules:
        folder = Path(__file__).resolve().parent.parent / "benchmarks"
        spec = importlib.util.spec_from_file_location(
            "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["benchmarks"])
    return importlib.import_module("benchmarks.peers")


peers = load_benchmarks()


@pytest.mark.parametrize("flow", ["the paper's", "kalshi_macro", "polymarket_btc15m"])
def test_the_numba_book_is_the_cores(flow: str) -> None:
    """Events a step, and what rests where, of independent paths."""
    pytest.importorskip("numba", reason="numba, a peer of the benchmarks, is not installed")
    from benchmarks import book

    assert flow in book.FLOWS
    found = []
    for seed, run in ((1, book.theirs(flow)), (2, book.ours(flow))):
        states, events = book.settled(flow, 8_000).copy(), np.zeros(8_000, np.int64)
        run(states, events, seed, 20)
        bids = np.where(states[:, :100] > 0, np.arange(100), 0).max(axis=1)
        found.append((events, np.abs(states[:, :100]).sum(axis=1), bids))
    for ours, theirs in zip(*found, strict=True):
        assert stats.ttest_ind(ours, theirs, equal_var=False).pvalue > 1e-4
        assert stats.levene(ours, theirs).pvalue > 1e-4


def test_the_benchmark_of_books_has_a_row_of_each_flow() -> None:
    """The flow alone by both books, and mcmm's whole step; ratios are to the flow alone of the same flow."""
    pytest.importorskip("numba", reason="numba, a peer of the benchmarks, is not installed")
    from benchmarks import book

    text = book.report(1, 64, 64)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    for flow in book.FLOWS:
        of_it = {row[1]: row for row in rows if row[0] == f"| {flow}"}
        assert {book.CORE, book.WHOLE, book.PEER} <= set(of_it)
        assert all(float(row[2].split()[0]) > 0.1 for row in of_it.values())
        assert of_it[book.CORE][3] == "1.00 (1.00-1.00) |"


def rows_of(name: str) -> NDArray[np.float64]:
    if name == "core":
        rows = run_rows(mcmm.Scenario.from_dict({**peers.SCENARIO, "steps": STEPS}), 11, 0, PATHS)
        wanted = ["trips" if metric == "halts" else metric for metric in peers.METRICS]
        return np.asarray(rows)[[NAMES.index(metric) for metric in wanted]]
    if name.startswith("numba"):
        pytest.importorskip("numba", reason="numba, a peer of the benchmarks, is not installed")
    return np.asarray(peers.load(name)(PATHS, STEPS, 11))


@pytest.fixture(scope="module")
def reference() -> NDArray[np.float64]:
    return rows_of("numpy_reduced")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["core", "numba_scalar", "numba_vector"])
def test_means_and_spreads_agree_with_numpy(name: str, reference: NDArray[np.float64]) -> None:
    rows = rows_of(name)
    assert rows.shape == reference.shape == (len(peers.METRICS), PATHS)
    for metric, ours, theirs in zip(peers.METRICS, rows, reference, strict=True):
        centre = theirs.mean()
        for power in (1, 2):
            a, b = (ours - centre) ** power, (theirs - centre) ** power
            error = np.hypot(a.std(ddof=1), b.std(ddof=1)) / np.sqrt(PATHS)
            assert abs(a.mean() - b.mean()) <= 4.0 * error, f"{metric}, moment {power}"


@pytest.mark.parametrize("name", ["numpy_reduced", "numba_scalar", "numba_vector"])
def test_a_peer_keeps_the_rules(name: str) -> None:
    if name.startswith("numba"):
        pytest.importorskip("numba", reason="numba, a peer of the benchmarks, is not installed")
    run = peers.load(name)
    rows = run(65, 400, 3)
    assert np.array_equal(rows, run(65, 400, 3))
    assert not np.array_equal(rows, run(65, 400, 4))
    row = dict(zip(peers.METRICS, rows, strict=True))
    np.testing.assert_allclose(row["spread_pnl"] + row["inventory_pnl"], row["pnl_fair"], atol=1e-9)
    assert np.all(row["volume"] >= row["fills"])
    assert np.all(row["volume"] <= peers.SIZE_MAX * row["fills"])
    assert np.all(row["max_inventory"] <= peers.INVENTORY_LIMIT)
    assert np.all(row["average_spread"] >= 0.04)
    halted = row["halts"] == 1.0
    assert np.all(row["max_drawdown"][halted] >= 2.5)
    assert np.all(row["max_drawdown"][~halted] < 2.5)
    assert run(1, 1, 3).shape == (len(peers.METRICS), 1)


def test_the_ziggurat_is_normal() -> None:
    pytest.importorskip("numba", reason="numba, a peer of the benchmarks, is not installed")
    from benchmarks.peers.numba_scalar import normals

    drawn = normals(1_000_000, 5)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    assert abs(stats.kurtosis(drawn)) < 4.0 * np.sqrt(24.0 / drawn.size)
    beyond = np.mean(np.abs(drawn) > 3.7)
    expected = 2.0 * stats.norm.sf(3.7)
    assert abs(beyond - expected) < 4.0 * np.sqrt(expected / drawn.size)


def test_the_vector_peer_is_vectorised() -> None:
    pytest.importorskip("numba", reason="numba, a peer of the benchmarks, is not installed")
    from llvmlite import binding

    from benchmarks.peers.numba_vector import vector_instructions

    features = binding.get_host_cpu_features()
    widest = "zmm" if features.get("avx512dq") else "ymm" if features.get("avx2") else "xmm"
    counts = vector_instructions()
    assert counts[widest] > 500
    # What is left to single doubles is the last loop, which writes the metrics.
    assert counts[widest] > 5 * counts["scalar"]


@pytest.mark.slow
def test_the_textbook_peer_agrees_with_the_core() -> None:
    from benchmarks.peers import numpy_avellaneda_stoikov as textbook

    scenario = mcmm.Scenario.from_dict(textbook.SCENARIO)
    ours = run_rows(scenario, 11, 0, 5 * PATHS)[[NAMES.index(metric) for metric in textbook.METRICS]]
    theirs = textbook.run(5 * PATHS, scenario.steps, 11)
    for metric, core, peer in zip(textbook.METRICS, ours, theirs, strict=True):
        for power in (1, 2):
            a, b = (core - core.mean()) ** power, (peer - core.mean()) ** power
            error = np.hypot(a.std(ddof=1), b.std(ddof=1)) / np.sqrt(a.size)
            # The average spread is not random: the same on all paths.
            assert abs(a.mean() - b.mean()) <= 4.0 * error + 1e-12, f"{metric}, moment {power}"


def test_the_textbook_peer_keeps_the_rules() -> None:
    from benchmarks.peers import numpy_avellaneda_stoikov as textbook

    rows = textbook.run(65, textbook.STEPS, 3)
    assert np.array_equal(rows, textbook.run(65, textbook.STEPS, 3))
    assert not np.array_equal(rows, textbook.run(65, textbook.STEPS, 4))
    row = dict(zip(textbook.METRICS, rows, strict=True))
    np.testing.assert_allclose(row["spread_pnl"] + row["inventory_pnl"], row["pnl"], atol=1e-9)
    assert np.all(np.abs(row["final_inventory"]) <= row["fills"])
    assert np.all(row["fills"] <= 2 * textbook.STEPS)
    assert textbook.run(1, 1, 3).shape == (len(textbook.METRICS), 1)
