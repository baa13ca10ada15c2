"""A policy of one's own: the same bits as the built-in one it retells, the oracle's, and clear refusals."""

from __future__ import annotations

import ctypes
import math
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from oracle_custom import Books
from scipy import LowLevelCallable
from typer.testing import CliRunner

import mcmm
from mcmm._isa import core
from mcmm.cli import app
from mcmm.errors import InputError, MCMMError, ScenarioError, StoreError
from mcmm.estimate import estimate
from mcmm.metrics import NAMES
from mcmm.policies import LANES, ROWS, SETTINGS, STATE_ROWS, QuoteView, numba_policy, row
from mcmm.store import SweepResult
from mcmm.verification import verify

DOCS = Path(__file__).resolve().parent.parent / "docs" / "policies.md"
HARD = {
    "steps": 120,
    "flow.arrival_rate": 0.7,
    "risk.inventory_limit": 30,
    "risk.exposure_limit": 12.0,
    "risk.drawdown_limit": 1.5,
    "risk.breaker_action": "pause",
    "risk.pause_steps": 7,
    "risk.close_steps": 10,
    "recovery.disconnect_rate": 0.02,
    "recovery.outage_steps": 5,
    "quoting.reference_weight": 0.05,
    "quoting.reference_noise": 0.02,
    "fees.maker_rate": 0.0175,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "hard": HARD,
    "stale": HARD | {"recovery.stale_quotes": True, "risk.breaker_action": "flatten"},
    "no limit": {"risk.inventory_limit": math.inf, "market.tick_size": 0.001},
    "intensity": {"flow.model": "intensity", "flow.intensity_decay": 30.0, "steps": 60},
    "threshold": {"market.process": "threshold", "steps": 90},
    "marked at the fair value": HARD | {"risk.mark": "fair", "risk.breaker_action": "halt"},
    # Where nothing but the inventory limit acts on a quote, the core shows and places it in one pass.
    "halted": {
        "steps": 120,
        "flow.arrival_rate": 0.7,
        "risk.inventory_limit": 30,
        "risk.drawdown_limit": 0.4,
    },
    "flattened": {
        "steps": 120,
        "flow.arrival_rate": 0.7,
        "risk.drawdown_limit": 0.3,
        "risk.breaker_action": "flatten",
        "risk.mark": "fair",
        "quoting.inventory_shade": 0.01,
    },
    "own flow alone": {"steps": 90, "quoting.imbalance_shade": 0.0, "fees.maker_rate": 0.0175},
    "many contracts": {"flow.size_max": 60, "flow.size_mean": 25, "quoting.quote_size": 4, "steps": 60},
}


def code_in_docs() -> Iterator[str]:
    return iter(re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What the page's code blocks define, run in their order."""
    names: dict[str, Any] = {}
    for code in code_in_docs():
        exec(compile(code, str(DOCS), "exec"), names)
    return names


def plain(view: QuoteView) -> None:
    """Adaptive, in NumPy."""
    s = view.settings
    widening = 1.0 + s["quoting.imbalance_factor"] * abs(view.imbalance)
    widening = widening + s["quoting.inventory_factor"] * abs(view.inventory_ratio)
    half = (s["quoting.base_spread"] * 0.5) * widening * view.multiplier
    view.bid[:] = view.mid - half * view.bid_multiplier
    view.ask[:] = view.mid + half * view.ask_multiplier


@pytest.mark.parametrize("variant", VARIANTS)
def test_adaptive_retold_has_the_same_bits(variant: str, documented: dict[str, Any]) -> None:
    built_in = mcmm.Scenario().replace(VARIANTS[variant])
    own = built_in.replace({"quoting.policy": "custom"})
    expected = mcmm.simulate(built_in, paths=300, seed=5, trace_paths=3)
    for policy in (documented["adaptive"], plain):
        found = mcmm.simulate(own, paths=300, seed=5, trace_paths=3, policy=policy)
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.trace.equals(expected.trace)


def odd(books: Books, memory: dict[str, float]) -> tuple[float, float, float, float]:
    """Everything a policy should not do, in turns: no price, crossed, outside (0, 1), broken sizes."""
    memory["steps"] = memory.get("steps", 0.0) + 1.0
    turn = int(memory["steps"]) % 7
    bid, ask = books["mid"] - 0.011, books["mid"] + 0.013 * books["multiplier"] * books["ask_multiplier"]
    bid_size, ask_size = books["bid_size"], books["ask_size"]
    if turn == 1:
        bid, ask_size = math.nan, 2.7
    elif turn == 2:
        bid, ask = ask, bid
    elif turn == 3:
        bid, ask = -5.0, math.inf
    elif turn == 4:
        bid_size, ask_size = -3.0, math.nan
    elif turn == 5:
        ask, bid_size = math.nan, 1e300
    elif turn == 6:
        bid_size, ask_size = 1.0 + abs(books["inventory"]), abs(books["pnl"]) + books["exposure"]
    return bid, ask, bid_size, ask_size


def same(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    return all(
        ours[name] == value or (math.isnan(ours[name]) and math.isnan(value))
        for name, value in theirs.items()
    )


def odd_in_core(view: QuoteView) -> None:
    names = [name for name in ROWS if not name.startswith(("state", "quoting"))]
    for lane in range(LANES):
        if not view.quoting[lane]:
            continue
        books = {name: float(getattr(view, name)[lane]) for name in names}
        memory = {"steps": float(view.state[2, lane])}
        view.bid[lane], view.ask[lane], view.bid_size[lane], view.ask_size[lane] = odd(books, memory)
        view.state[2, lane] = memory["steps"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_core_is_the_oracle_whatever_a_policy_writes(variant: str) -> None:
    scenario = mcmm.Scenario().replace(VARIANTS[variant]).replace({"quoting.policy": "custom", "steps": 110})
    core_run = mcmm.simulate(scenario, paths=4, seed=11, trace_paths=4, policy=odd_in_core)
    trades = 0.0
    for path in range(4):
        memory: dict[str, float] = {}
        told = oracle.simulate(scenario, 11, path, custom=lambda books, kept=memory: odd(books, kept))
        metrics = dict(zip(NAMES, core_run.values[:, path].tolist(), strict=True))
        assert same(metrics, told.metrics)
        for t, expected in enumerate(told.rows):
            assert core_run.trace_values is not None
            traced = {name: float(core_run.trace_values[name][path, t]) for name in expected}
            assert same(traced, expected), f"path {path}, step {t}"
        trades += told.metrics["fills"]
    assert trades > 10


def test_the_rows_are_the_cores() -> None:
    assert len(ROWS) == core.POLICY_ROWS
    assert LANES == core.BLOCK
    assert STATE_ROWS == core.POLICY_STATE_ROWS
    assert row("mid") == 0
    with pytest.raises(InputError, match=r"row: must be one of mid, .*, got 'midd'"):
        row("midd")


def test_parameters_and_settings_are_handed_over() -> None:
    seen: list[QuoteView] = []

    def look(view: QuoteView) -> None:
        seen.append(view)
        assert not view.state.any()

    scenario = mcmm.Scenario(steps=1, quoting={"policy": "custom", "parameters": [0.25, -3.0]})
    mcmm.simulate(scenario, paths=100, policy=look)
    assert seen[0].parameters == (0.25, -3.0)
    assert tuple(seen[0].settings) == SETTINGS
    assert seen[0].settings["quoting.base_spread"] == 0.04

    @numba_policy
    def compiled(rows, settings, step, steps):  # type: ignore[no-untyped-def]
        for i in range(rows.shape[1]):
            rows[10, i] = settings[10] + 0.1
            rows[11, i] = 0.9 + settings[12]

    run = mcmm.simulate(scenario, paths=1, trace_paths=1, policy=compiled)
    assert run.trace["bid"].iloc[0] == 0.35
    assert run.trace["ask"].iloc[0] == 0.9
    assert run.provenance["policy"].endswith(
        ":test_parameters_and_settings_are_handed_over.<locals>.compiled"
    )
    assert len(run.provenance["policy_digest"]) == 64


def test_an_exception_names_the_policy_and_the_step() -> None:
    def fails(view: QuoteView) -> None:
        if view.step == 3:
            raise ZeroDivisionError("no reason")
        plain(view)

    scenario = mcmm.Scenario(steps=10, quoting={"policy": "custom"})
    with pytest.raises(ZeroDivisionError, match="no reason") as caught:
        mcmm.simulate(scenario, paths=1000, jobs=2, policy=fails)
    assert "fails, step 3" in caught.value.__notes__[0]


def test_the_fair_value_is_not_shown() -> None:
    """Neither as it is, nor in what a mark at the fair value makes of the books."""

    def told(mark: str) -> list[float]:
        seen: list[float] = []

        def look(view: QuoteView) -> None:
            plain(view)
            held = np.where(
                view.inventory > 0, view.inventory * view.mid, abs(view.inventory) * (1 - view.mid)
            )
            seen.append(float(np.max(abs(view.exposure - held))))

        changes = {
            "quoting.policy": "custom",
            "quoting.reference_weight": 0.1,
            "risk.mark": mark,
            "steps": 50,
        }
        mcmm.simulate(mcmm.Scenario().replace(changes), paths=64, policy=look)
        return seen

    assert max(told("fair")) == 0.0
    # As of the last mark, the maker's mid of one step before.
    assert max(told("mid")) > 0.0


def test_arrays_that_a_policy_keeps_outlive_the_run() -> None:
    kept: list[Any] = []

    def keep(view: QuoteView) -> None:
        plain(view)
        if view.step == 4:
            kept.append((view.mid, view.bid, view.state, view.mid.copy()))

    mcmm.simulate(mcmm.Scenario(steps=5, quoting={"policy": "custom"}), paths=200, policy=keep)
    mcmm.simulate(mcmm.Scenario(steps=5), paths=2000)  # what takes the memory that was freed
    mid, bid, state, copied = kept[-1]
    np.testing.assert_array_equal(mid, copied)
    assert (bid < mid).all()
    assert not state.any()


def test_what_is_not_written_in_place_is_refused() -> None:
    def rebinds(view: QuoteView) -> None:
        view.bid = view.mid - 0.01
        view.ask[:] = view.mid + 0.01

    with pytest.raises(InputError, match=r"must write view.bid in place \(.*\), got view.bid = ndarray"):
        mcmm.simulate(mcmm.Scenario(steps=2, quoting={"policy": "custom"}), paths=1, policy=rebinds)


def test_a_compiled_policy_that_fails_ends_the_run() -> None:
    @numba_policy
    def raises(rows, settings, step, steps):  # type: ignore[no-untyped-def]
        if step == 3:
            raise ValueError("no reason")

    from numba import carray, cfunc, types

    whole, doubles = types.int64, types.CPointer(types.float64)

    @cfunc(types.intc(doubles, doubles, whole, whole))
    def returns_7(rows, settings, step, steps):  # type: ignore[no-untyped-def]
        shown = carray(rows, (22, 64))
        return 7 if step == 5 and shown[6, 0] == 1.0 else 0

    one = {"steps": 10, "quoting": {"policy": "custom"}}
    two = one | {"markets": [{"name": "fed"}, {"name": "cpi"}]}
    for tables in (one, two):
        scenario = mcmm.Scenario.from_dict(tables)
        with pytest.raises(MCMMError, match=r"raises failed in step 3: it raised an exception"):
            mcmm.simulate(scenario, paths=1000, jobs=2, policy=raises)
        with pytest.raises(MCMMError, match=r"returns_7 failed in step 5: it returned 7, which must be 0"):
            mcmm.simulate(scenario, paths=1, policy=returns_7)


WIDE = """
int wide(double *rows, double *settings, long long step, long long steps)
{
    for (int i = 0; i < 64; i++) {
        rows[BID * 64 + i] = 0.25 + settings[0];
        rows[ASK * 64 + i] = step + 1 < steps ? 0.75 : 0.9;
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A policy in C, as ctypes has it."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "wide.c").write_text(WIDE, encoding="utf-8")
    numbers = (f"-DBID={row('bid')}", f"-DASK={row('ask')}")
    subprocess.run(
        [*os.environ.get("CC", "cc").split(), *numbers, "-shared", "-fPIC", "wide.c", "-o", "wide.so"],
        check=True,
        cwd=folder,
    )
    function = ctypes.CDLL(str(folder / "wide.so")).wide
    pointer = ctypes.POINTER(ctypes.c_double)
    function.argtypes, function.restype = (
        (pointer, pointer, ctypes.c_longlong, ctypes.c_longlong),
        ctypes.c_int,
    )
    return function


def quotes_wide(policy: object) -> str:
    """Run it, see that its quotes came, and return the name that is recorded."""
    scenario = mcmm.Scenario(steps=3, quoting={"policy": "custom"})
    run = mcmm.simulate(scenario, paths=100, trace_paths=1, policy=policy)
    assert list(run.trace["bid"]) == [0.26, 0.26, 0.26]
    assert list(run.trace["ask"]) == [0.75, 0.75, 0.9]
    return str(run.provenance["policy"])


def test_a_policy_in_c_quotes(compiled: Any) -> None:
    assert quotes_wide(LowLevelCallable(compiled)) == "LowLevelCallable:wide"


@pytest.mark.parametrize("whole", ["long long", "PY_LONG_LONG", "int64_t", "long"])
def test_a_policy_as_a_capsule_quotes(whole: str, compiled: Any) -> None:
    """As `LowLevelCallable.from_cython` hands it over: Cython calls a long long PY_LONG_LONG."""
    new = ctypes.pythonapi.PyCapsule_New
    new.argtypes, new.restype = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p), ctypes.py_object
    signature = f"int (double *, double *, {whole}, {whole})".encode()
    capsule = new(ctypes.cast(compiled, ctypes.c_void_p), signature, None)
    assert quotes_wide(LowLevelCallable(capsule)) == "LowLevelCallable:unnamed"


def test_a_capsule_of_another_signature_is_refused(compiled: Any) -> None:
    compiled.argtypes = (*compiled.argtypes[:3], ctypes.c_int)
    try:
        with pytest.raises(InputError, match=r"must have the signature .*, got .*int\)"):
            quotes_wide(LowLevelCallable(compiled))
    finally:
        compiled.argtypes = (*compiled.argtypes[:3], ctypes.c_longlong)


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    own = mcmm.Scenario(quoting={"policy": "custom"})

    def refused(policy: object, scenario: mcmm.Scenario = own) -> str:
        with pytest.raises(InputError) as caught:
            mcmm.simulate(scenario, paths=1, policy=policy)
        return str(caught.value)

    assert refused(None) == 'policy: must be given with quoting.policy "custom", got None'
    assert refused(plain, mcmm.Scenario()).endswith('got "adaptive"')
    assert "module:name" in refused("nothing")
    assert "cannot be imported" in refused("no_such_module:quote")
    assert refused("math:quote") == "policy: math has no quote"
    assert "must be a LowLevelCallable" in refused(3)
    from numba import cfunc

    wrong = cfunc("float64(float64)")(lambda x: x)
    assert "must have the signature" in refused(wrong)
    with pytest.raises(ScenarioError, match=r"quoting\.policy: must not be custom"):
        mcmm.Scenario(
            market={"process": "arithmetic", "initial_mid": 1.0},
            flow={"model": "intensity"},
            quoting={"policy": "custom"},
        )
    with pytest.raises(ScenarioError, match=r"quoting\.parameters: must be left out"):
        mcmm.Scenario(quoting={"parameters": [1.0]})


def test_a_policy_is_found_in_a_file(tmp_path: Path) -> None:
    source = tmp_path / "my_quotes.py"
    source.write_text("def wide(view):\n    view.bid[:] = 0.1\n    view.ask[:] = 0.9\n", encoding="utf-8")
    scenario = mcmm.Scenario(steps=2, quoting={"policy": "custom"})
    run = mcmm.simulate(scenario, paths=2, trace_paths=1, policy=f"{source}:wide")
    assert list(run.trace["ask"]) == [0.9, 0.9]


def study_of(axes: dict[str, list[Any]], **more: Any) -> mcmm.Study:
    scenario = {"steps": 40, "quoting": {"policy": "custom"}}
    return mcmm.Study(name="own", scenario=scenario, paths=300, seed=3, points={"axes": axes}, **more)


SPREADS = {"quoting.base_spread": [0.02, 0.06]}


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    """A file with two policies, and a study that sweeps them."""
    source = tmp_path / "my_quotes.py"
    source.write_text(
        "def plain(view):\n"
        "    half = view.settings['quoting.base_spread'] * 0.5 * view.multiplier\n"
        "    view.bid[:] = view.mid - half\n"
        "    view.ask[:] = view.mid + half\n"
        "\n"
        "def wide(view):\n"
        "    view.bid[:], view.ask[:] = 0.1, 0.9\n",
        encoding="utf-8",
    )
    return source


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_sweep_quotes_with_it(backend: str, quotes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    named = f"{quotes}:plain"
    result = mcmm.sweep(study_of(SPREADS, keep_paths=True), run, jobs=2, backend=backend, policy=named)
    for point in (0, 1):
        alone = mcmm.simulate(result.study.scenario_at(point), paths=300, seed=3, policy=named)
        expected = alone.paths["pnl_settled"].to_numpy()
        np.testing.assert_array_equal(result.values(point, "pnl_settled"), expected)
    assert verify(run, None, policy=named).same
    with pytest.raises(InputError, match=r'policy: must be given with quoting.policy "custom", got None'):
        verify(run, None)
    with pytest.raises(InputError, match=r"policy: must be .*:plain sha.*, as the study has it, got .*:wide"):
        verify(run, None, policy=f"{quotes}:wide")
    with pytest.raises(StoreError, match=r"holds another study \(policy"):
        mcmm.sweep(study_of(SPREADS, keep_paths=True), run, policy=f"{quotes}:wide")
    assert estimate(study_of(SPREADS), policy=named).points == 2


def test_a_sweep_may_choose_it_at_some_points(quotes: Path) -> None:
    axes = {"quoting.policy": ["adaptive", "custom"]}
    study = mcmm.Study(name="own", scenario={"steps": 40}, paths=200, seed=3, points={"axes": axes})
    result = mcmm.sweep(study, policy=plain)
    np.testing.assert_array_equal(result.values(0, "pnl"), result.values(1, "pnl"))
    with pytest.raises(InputError, match=r'policy: must be given with quoting.policy "custom", got None'):
        mcmm.sweep(study)
    built_in = mcmm.Study(name="own", scenario={"steps": 4}, paths=2, seed=3, points={"axes": SPREADS})
    with pytest.raises(InputError, match=r'policy: needs a study with quoting.policy "custom" at some point'):
        mcmm.sweep(built_in, policy=plain)


def test_other_processes_need_it_by_name() -> None:
    with pytest.raises(
        InputError, match=r"must be module:name or file.py:name with backend loky, .* got .*:plain"
    ):
        mcmm.sweep(study_of(SPREADS), jobs=2, backend="loky", policy=plain)


def test_a_run_read_back_asks_for_it_where_it_simulates_again(quotes: Path, tmp_path: Path) -> None:
    named = f"{quotes}:plain"
    mcmm.sweep(study_of(SPREADS), tmp_path / "run", policy=named)
    again = SweepResult.load(tmp_path / "run")
    assert again.study.policy.startswith(f"{named} sha256:")
    with pytest.raises(InputError, match=r'policy: must be given with quoting.policy "custom"'):
        again.values(0, "pnl")


def test_the_commands_take_it(quotes: Path, tmp_path: Path) -> None:
    source = tmp_path / "study.toml"
    source.write_text(
        'name = "own"\npaths = 100\nseed = 1\n[scenario]\nsteps = 20\n[scenario.quoting]\npolicy = "custom"\n'
        '[points.axes]\n"quoting.base_spread" = [0.02, 0.04]\n',
        encoding="utf-8",
    )
    run, named = str(tmp_path / "run"), f"{quotes}:wide"
    command = CliRunner()
    assert command.invoke(app, ["sweep", str(source), "--dry-run", "--policy", named]).exit_code == 0
    found = command.invoke(app, ["sweep", str(source), "--out", run, "--policy", named])
    assert found.exit_code == 0, found.output
    assert command.invoke(app, ["verify", run, "--all", "--policy", named]).exit_code == 0
    assert command.invoke(app, ["report", run, "--policy", named]).exit_code == 0
    refused = command.invoke(app, ["report", run])
    assert "policy: must be given" in str(refused.exception)
    refused = command.invoke(app, ["sweep", str(source), "--out", run])
    assert refused.exit_code == 2 or isinstance(refused.exception, InputError)
