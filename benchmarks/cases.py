"""What is timed: the core on named scenarios, the peers on the reduced bot, and NumPy's draws alone."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.peers import numpy_avellaneda_stoikov

__all__ = ["SCENARIOS", "available_peers", "core", "numba_policy", "numpy_draws", "numpy_textbook", "peer"]

STEPS = 1000
ROOT = Path(__file__).resolve().parent.parent


def _markets(count: int) -> dict[str, Any]:
    return {"markets": [{"name": f"m{place}"} for place in range(count)]}


def _measured(name: str) -> dict[str, Any]:
    """A scenario as it is shipped: one measured from a real venue."""
    return tomllib.loads((ROOT / "scenarios" / f"{name}.toml").read_text(encoding="utf-8"))


SCENARIOS: dict[str, dict[str, Any]] = {
    "default": {},
    "minimal": {
        "market": {"volatility": 0.0},
        "flow": {
            "informed_fraction": 0.0,
            "price_sensitivity": 0.0,
            "size_distribution": "fixed",
            "size_mean": 1.0,
        },
        "quoting": {"policy": "symmetric"},
        "risk": {"inventory_limit": math.inf},
    },
    "symmetric": {"quoting": {"policy": "symmetric"}},
    "avellaneda_stoikov": {"quoting": {"policy": "avellaneda_stoikov"}},
    "glosten_milgrom": {"market": {"tick_size": 0.0}, "quoting": {"policy": "glosten_milgrom"}},
    "lmsr": {"market": {"tick_size": 0.0}, "quoting": {"policy": "lmsr"}},
    # The setting of the paper's tables; there a path has 200 steps.
    "avellaneda_stoikov 2008": numpy_avellaneda_stoikov.SCENARIO,
    "reduced": peers.SCENARIO,
    "polymarket_btc15m": _measured("polymarket_btc15m"),
    "kalshi_macro": _measured("kalshi_macro"),
    # Per path-step of a market; the first is the default scenario, as a list of one.
    "1 market in a portfolio": _markets(1),
    "3 markets": {
        **_markets(3),
        "portfolio": {"correlation": 0.5, "exposure_limit": 60.0, "drawdown_limit": 50.0},
    },
    "64 markets": {
        **_markets(64),
        "portfolio": {"correlation": 0.5, "exposure_limit": 900.0, "drawdown_limit": 900.0},
    },
}

POLICIES = ROOT / "docs" / "policies.md"


def core(name: str) -> tuple[Callable[[int, int], Any], int]:
    """A function of paths and seed that runs the core on a scenario, and the steps of all its markets."""
    from mcmm import Scenario
    from mcmm.engine import run_rows

    scenario = Scenario.from_dict(SCENARIOS[name])
    steps = scenario.steps * scenario.market_count
    return lambda paths, seed: run_rows(scenario, seed, 0, paths), steps


def available_peers() -> tuple[str, ...]:
    """The peers whose tool is installed."""
    has_numba = find_spec("numba") is not None
    return tuple(name for name in peers.PEERS if has_numba or not name.startswith("numba"))


def peer(name: str) -> tuple[Callable[[int, int], Any], int]:
    """A function of paths and seed that runs a peer on the reduced bot, compiled already, and its steps."""
    run = peers.load(name)
    run(1, 1, 0)
    return lambda paths, seed: run(paths, STEPS, seed), STEPS


def numpy_textbook() -> tuple[Callable[[int, int], Any], int]:
    """A function of paths and seed that runs the Avellaneda-Stoikov setting in NumPy, and its steps."""
    steps = numpy_avellaneda_stoikov.STEPS
    return lambda paths, seed: numpy_avellaneda_stoikov.run(paths, steps, seed), steps


def numba_policy() -> tuple[Callable[[int, int], Any], int]:
    """The default scenario with its policy written in Numba, as the first code of docs/policies.md has it."""
    from mcmm import Scenario
    from mcmm.engine import run_rows
    from mcmm.policies import policy_of

    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", POLICIES.read_text(encoding="utf-8"), re.DOTALL)[0], names)
    scenario = Scenario.from_dict({"quoting": {"policy": "custom"}})
    policy = policy_of(names["adaptive"], scenario)
    return lambda paths, seed: run_rows(scenario, seed, 0, paths, policy=policy), scenario.steps


def numpy_draws() -> tuple[Callable[[int, int], None], int]:
    """What NumPy takes merely to draw one normal and three uniform numbers a path-step."""
    buffer = np.empty(8192)

    def draw(paths: int, seed: int) -> None:
        rng = np.random.Generator(np.random.SFC64(seed))
        for _ in range(paths * STEPS // buffer.size):
            rng.standard_normal(out=buffer)
            rng.random(out=buffer)
            rng.random(out=buffer)
            rng.random(out=buffer)

    return draw, STEPS
