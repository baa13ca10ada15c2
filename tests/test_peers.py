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


def test_the_report_is_written_between_its_markers(tmp_path: Path) -> None:
    from benchmarks import report

    times = {name: [2.0, 3.0, 4.0] for name in (*report.PROGRAMS, report.DEFAULT, report.DRAWS)}
    times["numpy_reduced"] = [20.0, 45.0, 160.0]
    text = report.render(times, "On no machine.")
    assert "| tuned NumPy, arrays over paths | 45.00 | 22 | 15.00 (10.00-40.00) |" in text
    page = tmp_path / "performance.md"
    page.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.write(page, text)
    assert page.read_text() == f"above\n{report.BEGIN}\n\n{text}\n\n{report.END}\nbelow\n"
    page.write_text("no markers\n")
    with pytest.raises(SystemExit, match="not both there"):
        report.write(page, text)
    assert page.read_text() == "no markers\n"
