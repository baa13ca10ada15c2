"""A path is a function of scenario, seed and index; no block, slice, thread or machine changes a bit of it.

The panel's values are frozen, too: data/golden.json holds their hashes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import panel
import pytest
from numpy.typing import NDArray

import mcmm
from mcmm import _isa, engine, plan
from mcmm.policies import policy_of

GOLDEN = Path(__file__).parent / "data" / "golden.json"
PANEL = list(panel.SCENARIOS)
PATHS = 1_100


def same(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(a.view(np.uint64), b.view(np.uint64)))


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float64]]:
    return {name: panel.values(name, PATHS) for name in PANEL}


@pytest.mark.parametrize("name", PANEL)
def test_paths_differ(name: str, reference: dict[str, NDArray[np.float64]]) -> None:
    """Or all of the below would say nothing."""
    if name != "replay":  # all but its outcome is given
        assert len(np.unique(reference[name], axis=1).T) > 0.9 * PATHS


@pytest.mark.parametrize("name", PANEL)
def test_the_number_of_paths_changes_nothing(name: str, reference: dict[str, NDArray[np.float64]]) -> None:
    for paths in (1, 63, 64, 65, 1000):
        assert same(panel.values(name, paths), reference[name][:, :paths].copy())


@pytest.mark.parametrize("name", PANEL)
def test_any_path_can_be_the_first(name: str, reference: dict[str, NDArray[np.float64]]) -> None:
    for first, paths in ((1, 1), (1, 64), (63, 2), (64, 64), (65, 63), (100, 1000), (1099, 1)):
        part = panel.values(name, paths, first_path=first)
        assert same(part, reference[name][:, first : first + paths].copy())


@pytest.mark.parametrize("name", PANEL)
def test_threads_and_slices_change_nothing(
    name: str, reference: dict[str, NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SLICE", 1)  # the smallest slices there can be: a block each
    for jobs in (1, 2, -1):
        assert same(panel.values(name, PATHS, jobs=jobs), reference[name])


@pytest.mark.parametrize("name", PANEL)
def test_the_first_thousand_of_many(name: str, reference: dict[str, NDArray[np.float64]]) -> None:
    many = panel.values(name, 100_000, jobs=2)
    assert same(many[:, :1000].copy(), reference[name][:, :1000].copy())
    assert same(many[:, -65:].copy(), panel.values(name, 65, first_path=100_000 - 65))


@pytest.mark.parametrize("name", PANEL)
def test_tracing_changes_nothing(name: str, reference: dict[str, NDArray[np.float64]]) -> None:
    traced = panel.simulate(name, 130, trace_paths=70)
    assert np.array_equal(traced.values, reference[name][:, :130], equal_nan=True)
    fewer = panel.simulate(name, 7, first_path=63, trace_paths=7)
    assert traced.trace_values is not None
    assert fewer.trace_values is not None
    for column, rows in fewer.trace_values.items():
        assert np.array_equal(rows, traced.trace_values[column][63:70], equal_nan=True)


@pytest.mark.parametrize("name", panel.SWEPT)
def test_a_sweep_gets_the_same_rows(name: str, reference: dict[str, NDArray[np.float64]]) -> None:
    scenario = mcmm.Scenario.from_dict(panel.SCENARIOS[name])
    policy = policy_of(panel.named_policy(name), scenario)
    rows = engine.run_rows(scenario, panel.SEED, 3, 200, policy=policy)
    assert np.array_equal(rows, reference[name][:, 3:203], equal_nan=True)


@pytest.mark.parametrize("name", PANEL)
@pytest.mark.parametrize("isa", _isa.builds())
def test_every_instruction_set_gives_the_same_bits(
    isa: str, name: str, reference: dict[str, NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    build = _isa.load(isa)
    assert build.isa() == isa
    monkeypatch.setattr(plan, "core", build)
    assert same(panel.values(name, PATHS), reference[name])


def test_the_seed_matters() -> None:
    assert not same(panel.values("default", 64), panel.values("default", 64, seed=panel.SEED + 1))


@pytest.mark.parametrize("name", PANEL)
def test_values_are_frozen(name: str) -> None:
    assert panel.digest(name) == json.loads(GOLDEN.read_text("utf-8"))[name], (
        "these bits may change with a major version only; tests/golden.py --write then keeps the new hashes"
    )


def test_the_golden_file_is_of_this_panel() -> None:
    assert list(json.loads(GOLDEN.read_text("utf-8"))) == PANEL


def test_every_way_through_the_core_is_frozen() -> None:
    """Each of the plan's yes-or-no fields both ways: so a new pass for the common case needs an entry."""
    planned: list[dict[str, float]] = []

    class Watched:
        """The core, with a look at what its plans are made of."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_isa.core, name)

        def Plan(self, fields: dict[str, float], *more: Any, **named: Any) -> Any:
            planned.append(fields)
            return _isa.core.Plan(fields, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "core", Watched())
        for name in PANEL:
            panel.simulate(name, 1)
    flags = {name for name, value in planned[0].items() if isinstance(value, bool)}
    flags -= {"venue_paused", "venue_cancels", "venue_resumes"}  # which the core sets, by the step
    assert {"quotes_at_once", "asks_at_once", "marks_at_once", "halts_takers", "walks_at_once"} <= flags
    seen = {name: {bool(fields[name]) for fields in planned} for name in flags}
    assert not {name: sorted(ways) for name, ways in seen.items() if len(ways) < 2}
