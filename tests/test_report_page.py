from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from fake_sweep import HOSTILE, MANY, data_of, quantiles_of, sweep

from mcmm.distributions import LEVELS, Distribution
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.reports.details import Details
from mcmm.reports.figures import MOST_DISTRIBUTIONS, figures_data
from mcmm.reports.findings import Findings
from mcmm.reports.page import page, write_page
from mcmm.reports.provenance import settings_groups
from mcmm.scenario import Scenario


@pytest.fixture(scope="module")
def small() -> Findings:
    return Findings.of(sweep())


# ---- figures


def test_histogram_counts_every_value_in_round_bins() -> None:
    values = np.random.default_rng(1).normal(3.0, 20.0, 5000).round(2)
    found = Distribution.of(np.sort(values))
    edges = found.start + found.width * np.arange(len(found.counts) + 1)
    assert found.counts.sum() == 5000
    assert 30 <= len(found.counts) <= 85
    assert found.counts[0] > 0
    assert found.counts[-1] > 0
    assert found.counts.tolist() == np.histogram(values + 1e-7, edges)[0].tolist()
    mantissa = found.width / 10 ** math.floor(math.log10(found.width) + 1e-9)
    assert min(abs(mantissa - step) for step in (1, 2, 5)) < 1e-9


@pytest.mark.parametrize("value", [0.0, 3.7, -1e-12, 1e6])
def test_histogram_of_one_value(value: float) -> None:
    found = Distribution.of(np.full(10, value))
    assert found.counts.tolist() == [10]
    assert found.start <= value + 1e-9 < found.start + found.width + 1e-9


def test_the_pages_numbers_are_the_sweeps(small: Findings) -> None:
    data = figures_data(Details(small))
    result = small.result
    json.dumps(data, allow_nan=False)
    for row, point in enumerate(result.points.index):
        values = result.values(point, "pnl_settled")
        found = data["distributions"]["pnl_settled"][str(row)]
        assert sum(found["counts"]) == len(values)
        expected = np.quantile(values, LEVELS, method="inverted_cdf")
        np.testing.assert_allclose(quantiles_of(found), expected, atol=found["width"] / 100)
        luck = values - result.values(point, "pnl_fair")
        assert data["settlement"]["mean"][row] == pytest.approx(luck.mean(), rel=1e-4)
        assert data["settlement"]["error"][row] == pytest.approx(luck.std(ddof=1) / math.sqrt(2000), rel=1e-4)
        parts = [data["columns"][f"{name}.mean"][row] for name in ("spread_pnl", "inventory_pnl", "fees")]
        assert parts[0] + parts[1] - parts[2] == pytest.approx(
            data["columns"]["pnl_fair.mean"][row], abs=1e-3
        )
        for axis in data["axes"]:
            assert axis["values"][axis["of"][row]] == str(result.points[axis["name"]].iloc[row])


def test_axis_values_are_in_order_and_infinity_comes_last() -> None:
    axes = {"risk.drawdown_limit": [math.inf, 10.0, 2.5], "quoting.policy": ["symmetric", "adaptive"]}
    first, second = figures_data(Details(Findings.of(sweep(axes))))["axes"]
    assert first["values"] == ["2.5", "10", "inf"]
    assert first["of"] == [2, 2, 1, 1, 0, 0]
    assert second["values"] == ["symmetric", "adaptive"]


def test_the_menu_offers_every_metric_that_says_something(small: Findings) -> None:
    data = figures_data(Details(small))
    offered = {option["column"] for group in data["menu"] for option in group["options"]}
    assert {f"{name}.mean" for name in NAMES if name != "halt_reason"} - offered == {
        "halt_step.mean",
        "breaker_overshoot.mean",
    }
    assert offered <= set(data["columns"])
    assert {"pnl_settled.controlled_mean", "pnl_fair.variance_reduction"} <= offered


def test_a_long_study_carries_the_best_distributions() -> None:
    axes = {"quoting.base_spread": {"low": 0.01, "high": 0.3, "count": MOST_DISTRIBUTIONS + 50}}
    findings = Findings.of(sweep(axes, paths=50))
    carried = set(figures_data(Details(findings))["distributions"]["pnl_settled"])
    assert len(carried) == MOST_DISTRIBUTIONS
    assert {str(row) for row in findings.order[:50]} <= carried
    assert str(findings.order[-1]) in carried
    assert re.search(r"others; 50 of the\s+study", page(findings))


# ---- page


def test_the_page_asks_nothing_of_a_network(small: Findings) -> None:
    html = page(small)
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"https?:|//[a-z]", outside.split('<script type="application/json"')[0])
    assert not re.search(r"\b(?:src|srcset|action)\s*=|@import|url\(", outside)
    assert set(re.findall(r'href="([^"]*)"', outside)) == {"data:,"} | {
        f"#{name}" for name in re.findall(r'<section id="(\w+)"', html)
    } | {f"#setting-{name}" for name in small.result.points.columns}
    # Every link within the page leads somewhere.
    for name in re.findall(r'href="#([^"]*)"', outside):
        assert f'id="{name}"' in html
    assert "default-src 'none'" in html


def test_every_text_of_a_study_is_escaped() -> None:
    html = page(Findings.of(sweep(name=HOSTILE, question=HOSTILE)))
    assert "<script>alert" not in html
    assert "\x1b" not in html
    assert "{{ 7*7 }}" in html
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in html
    # The script's end is where the page put it: the data before it is whole.
    assert data_of(html)["paths"] == 2000


def test_axis_values_cannot_end_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sweep()
    result.points = result.points.astype(object)
    result.points.iloc[0, 0] = "</script><!--"
    html = page(Findings.of(result))
    assert "</script><!--" not in html
    assert "</script><!--" in data_of(html)["axes"][0]["values"]


def test_the_page_stays_small() -> None:
    from plotly.offline import get_plotlyjs

    findings = Findings.of(sweep(MANY, paths=5000))
    assert len(findings.order) == 200
    assert len(page(findings).encode()) - len(get_plotlyjs().encode()) < 1_500_000


def test_the_page_tells_settings_and_provenance(small: Findings) -> None:
    html = page(small)
    for name in Scenario.settings():
        # What several markets share is of no use to one, and the book's to a market that is a quote.
        assert (f'id="setting-{name}"' in html) is not name.startswith(("portfolio.", "book."))
    assert "0.02, 0.04, 0.06, 0.1, 0.16" in html
    for text in ("190.0 million path-steps per second", "avx2", small.result.study.digest(), "2026-01-05"):
        assert text in html
    table = re.search(r'<table id="points-table".*?</table>', html, re.DOTALL)
    assert table is not None
    assert table[0].count('<th scope="row"') == 20
    assert table[0].count('class="best"') == 1
    assert table[0].count('class="tied"') == len(small.tied)


def test_the_page_tells_the_books_settings_where_a_point_has_one() -> None:
    result = sweep({"venue": ["quote", "book"], "quoting.base_spread": [0.04, 0.06]})
    groups = {group["table"]: group["rows"] for group in settings_groups(Findings.of(result))}
    assert {row["name"] for row in groups["book"]} >= {"place_latency", "cancel_latency"}


def test_the_same_sweep_makes_the_same_page(small: Findings) -> None:
    assert page(small) == page(Findings.of(sweep()))


def test_a_page_that_cannot_be_written_is_an_input_error(tmp_path: Path, small: Findings) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_page(small, tmp_path / "no" / "report.html")
    with pytest.raises(InputError, match="cannot be written"):
        write_page(small, tmp_path)
    assert list(tmp_path.iterdir()) == []
