"""A sweep's result of made-up paths: plausible numbers in milliseconds, and odd cases too."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mcmm.comparison import Difference, difference, row_of_column
from mcmm.controls import CONTROLS, SETTLEMENT_IN
from mcmm.distributions import Distribution
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.scenario import Scenario
from mcmm.sensitivity import sensitivity
from mcmm.study import Study
from mcmm.summaries import Part, rows_of, summaries_of, summary_names

SPREADS = [0.02, 0.04, 0.06, 0.1, 0.16]
LIMITS = [25, 50, 100, 200]
#: The axes of 200 points.
MANY = {
    "quoting.base_spread": [0.02, 0.04, 0.06, 0.08, 0.1],
    "risk.inventory_limit": [25, 50, 100, 200, 400],
    "risk.drawdown_limit": [10.0, 20.0, 40.0, math.inf],
    "quoting.policy": ["adaptive", "symmetric"],
}
#: A text that would break out of a page, a terminal or a template.
HOSTILE = "</script><script>alert(1)</script> [bold]\"&' {{ 7*7 }} \x1b[31mred"


class FakeSweep:
    """The shape of SweepResult over a real study; ``make`` turns (study, scenario) into a point's values.

    Unless asked for, its control variates are off: what is told of plain means is then easy to work out.
    """

    def __init__(self, study: Study, make: Any = None, *, controls: bool = False) -> None:
        self.controls = controls
        self.study = study
        self.points = study.points()
        self._values = [(make or market)(study, study.scenario_at(point)) for point in self.points.index]
        parts = [Part.of(values, NAMES, exact=True) for values in self._values]
        self._found = summaries_of(parts, NAMES, [controls] * len(parts))
        columns = np.stack([each.columns for each in self._found])
        self.summary = pd.DataFrame(columns, index=self.points.index, columns=list(summary_names(NAMES)))
        self.provenance = {
            "mcmm": "0.1.0",
            "schema": 1,
            "seed": study.seed,
            "isa": "avx2",
            "python": "3.11.7",
            "numpy": np.__version__,
            "machine": "x86_64",
            "cores": 2,
            "wall_seconds": study.path_steps() / 1.9e8,
            "path_steps": study.path_steps(),
            "path_steps_per_second": 1.9e8,
            "started": "2026-01-05T09:30:00+00:00",
        }

    def paths_of(self, point: int) -> int:
        return self._values[point].shape[1]

    def distribution(self, point: int, metric: str) -> Distribution | None:
        return self._found[point].distributions.get(metric)

    def differences(self, baseline: int, column: str) -> list[Difference]:
        rows = rows_of(NAMES)
        row = row_of_column(column, rows.names)
        if row is None:
            raise InputError("column: no mean")
        wanted = [rows.place(name) for name in (row, *CONTROLS)]
        nodes = [each.node._replace(batches=each.node.batches[wanted]) for each in self._found]
        controls = self.controls and row in rows.results
        return [
            difference(node, nodes[baseline], wanted[0], controls, SETTLEMENT_IN.get(row, 0.0))._replace(
                point=point
            )
            for point, node in enumerate(nodes)
            if point != baseline
        ]

    def sensitivity(self, column: str) -> pd.DataFrame:
        return sensitivity(self.study, self.summary, column)

    def rows(self, point: int, metrics: Any, paths: int | None = None) -> np.ndarray:
        return self._values[point][[NAMES.index(name) for name in metrics]][:, :paths]

    def values(self, point: int, metric: str) -> np.ndarray:
        return self._values[point][NAMES.index(metric)]

    def paths(self, point: int, metrics: Any = None) -> pd.DataFrame:
        frame = pd.DataFrame(dict(zip(NAMES, self._values[point], strict=True)))
        frame.index.name = "path"
        return frame if metrics is None else frame[list(metrics)]


def study(
    axes: dict[str, Any] | None = None, scenario: dict[str, Any] | None = None, **settings: Any
) -> Study:
    """A study of 5 x 4 points unless told otherwise."""
    settings = {
        "name": "spread and inventory limit",
        "question": "Which spread pays for its adverse selection, and what inventory limit can it carry?",
        "paths": 2000,
        "seed": 7,
    } | settings
    points = {"axes": axes or {"quoting.base_spread": SPREADS, "risk.inventory_limit": LIMITS}}
    return Study(scenario=scenario or {}, points=points, **settings)


def sweep(
    axes: dict[str, Any] | None = None,
    scenario: dict[str, Any] | None = None,
    controls: bool = False,
    **settings: Any,
) -> FakeSweep:
    return FakeSweep(study(axes, scenario, **settings), controls=controls)


def market(study: Study, scenario: Scenario) -> np.ndarray:
    """Metrics of every path: earned spread, a settled inventory, a breaker if the scenario sets one."""
    random = np.random.default_rng(study.seed)
    paths, spread = study.paths, scenario.quoting.base_spread
    limit = float(min(scenario.risk.inventory_limit, 1000))
    rows = dict.fromkeys(NAMES, np.zeros(paths))
    outcome = (random.random(paths) < 0.5).astype(float)
    lean, noise, walk = random.standard_normal((3, paths))
    fills = np.floor(180 * np.exp(-14 * spread) * np.exp(0.2 * noise))
    rows["fills"], rows["volume"] = fills, np.round(fills * 2.6 * limit / (limit + 15))
    rows["notional"] = rows["volume"] * 0.5
    rows["fees"] = 0.0044 * rows["volume"]
    rows["informed_volume"] = np.round(rows["volume"] * 0.2)
    rows["informed_pnl"] = -rows["informed_volume"] * (0.11 - spread / 2)
    rows["spread_pnl"] = rows["volume"] * 0.8 * spread / 2 + rows["informed_pnl"]
    inventory = np.round(limit * np.tanh(70 * lean / limit * np.sqrt(fills / 60)))
    rows["final_inventory"] = inventory
    rows["max_inventory"] = np.minimum(limit, np.abs(inventory) + np.round(6 * np.abs(noise)))
    rows["inventory_pnl"] = inventory * 0.09 * walk
    rows["pnl_fair"] = rows["spread_pnl"] + rows["inventory_pnl"] - rows["fees"]
    rows["pnl"] = rows["pnl_fair"] - 0.01 * np.abs(inventory)
    probability = np.clip(0.5 + 0.09 * walk, 0.05, 0.95)
    rows["pnl_settled"] = rows["pnl_fair"] + inventory * (outcome - probability)
    rows["max_drawdown"] = np.maximum(0, -rows["pnl"]) + 0.02 * rows["max_inventory"]
    rows["max_drawdown_fair"] = np.maximum(0, -rows["pnl_fair"]) + 0.02 * rows["max_inventory"]
    rows["average_spread"] = np.full(paths, spread * 1.2)
    rows["max_exposure"] = rows["max_inventory"] * 0.5
    tripped = rows["max_drawdown"] >= scenario.risk.drawdown_limit
    rows["trips"] = rows["halt_reason"] = tripped.astype(float)
    rows["halt_step"] = np.where(tripped, 640.0, -1.0)
    rows["quoted_fraction"] = np.where(tripped, 0.64, 1.0)
    rows["breaker_overshoot"] = np.where(tripped, 0.3, math.nan)
    rows["final_mid"] = rows["final_probability"] = probability
    rows["outcome"] = outcome
    return np.array([rows[name] for name in NAMES])


def quantiles_of(found: dict[str, Any]) -> np.ndarray:
    """The quantiles of a distribution in a page's data."""
    return np.cumsum(found["quantiles"]) / 10.0 ** found["digits"]


def data_of(html: str) -> dict[str, Any]:
    """The numbers that a page carries for its figures; anything that is no JSON number fails."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1], parse_constant=pytest.fail)
