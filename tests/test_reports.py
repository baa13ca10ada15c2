from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_sweep import HOSTILE, MANY, FakeSweep, data_of, market, study, sweep
from rich.console import Console
from scipy import stats
from small_study import small_study

from mcmm import runner
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.reports import numbers, report
from mcmm.reports.findings import Findings, can_halt, describe, frontier
from mcmm.reports.one_run import SECTIONS, print_simulation
from mcmm.reports.page import page
from mcmm.reports.terminal import print_report
from mcmm.scenario import Scenario
from mcmm.simulation import Simulation


def printed(findings: Findings, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_report(findings, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def printed_simulation(values: np.ndarray, scenario: Scenario, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_simulation(Simulation(scenario, 7, 0, values), console, seconds=0.5)
    return console.file.getvalue()  # type: ignore[attr-defined]


def without_lines(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def small() -> Findings:
    return Findings.of(sweep())


@pytest.fixture(scope="module")
def many() -> Findings:
    return Findings.of(sweep(MANY, paths=500))


def test_a_report_says_where_quantiles_are_a_sketchs(small: Findings) -> None:
    assert small.sketched == ""
    many_paths = small_study(
        paths=65_537, scenario={"steps": 1}, points={"axes": {"quoting.base_spread": [0.04]}}
    )
    found = Findings.of(runner.sweep(many_paths, jobs=1))
    note = "Quantiles, VaR and ES of a point with more than 65,536 paths are a sketch's, within 0.1% of what"
    assert note in without_lines(printed(found))
    assert note in page(found).replace("&#39;", "'")


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"result: must be a SweepResult, as SweepResult.load returns, got str"
    ):
        report("runs/quickstart")


# ---- numbers


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1234.5, 1, "1,234.5"),
        (-0.004, 2, "0.00"),
        (-3.2, 2, "-3.20"),
        (math.nan, 2, "-"),
        (-math.inf, 2, "-inf"),
        (5e12, 2, "5e+12"),
    ],
)
def test_fixed(value: float, digits: int, text: str) -> None:
    assert numbers.fixed(value, digits) == text


def test_money_has_its_sign_before_the_dollar() -> None:
    assert numbers.money(-3.2) == "-$3.20"
    assert numbers.money(-0.001) == "$0.00"
    assert numbers.money(math.nan) == "-"


@pytest.mark.parametrize("trials", [1, 19, 299, 2000, 100_000, 10**7])
def test_a_chance_never_seen_is_its_upper_bound(trials: int) -> None:
    # The chance that `trials` paths all miss an event of this chance is 5%.
    bound = numbers.zero_chance_bound(trials)
    assert (1 - bound) ** trials == pytest.approx(0.05)
    shown = float(numbers.chance(0.0, trials).removeprefix("<").removesuffix("%")) / 100
    assert bound <= shown <= 1.1 * bound
    always = float(numbers.chance(1.0, trials).removeprefix(">").removesuffix("%")) / 100
    assert 0.85 * (1 - bound) <= always <= 1 - bound + 1e-15


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "50.0%"), (0.0125, "1.2%"), (0.0025, "0.25%"), (0.00004, "0.0040%"), (0.99996, "99.9960%")],
)
def test_a_chance_seen_never_reads_as_none_or_all(value: float, text: str) -> None:
    assert numbers.chance(value, 10**6) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (np.float64(0.07), "0.07"),
        (math.inf, "inf"),
        (np.int64(25), "25"),
        (True, "true"),
        ("adaptive", "adaptive"),
        ([[1, 0.5]], "[[1, 0.5]]"),
        ("\x1b[2J", "[2J"),
        (None, "-"),
    ],
)
def test_setting_text(value: Any, text: str) -> None:
    assert numbers.setting_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.21, "0.21 s"), (12.34, "12.3 s"), (245, "4 min 05 s"), (7620, "2 h 07 min"), (math.nan, "-")],
)
def test_duration(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


# ---- findings


def test_frontier_keeps_what_no_other_point_beats() -> None:
    risk = np.array([3.0, 1.0, 2.0, 2.0, 4.0, math.nan, 1.0])
    reward = np.array([5.0, 1.0, 4.0, 3.0, 5.0, 9.0, 1.0])
    assert frontier(risk, reward) == [1, 6, 2, 0]


def test_the_frontier_is_what_its_definition_says(many: Findings) -> None:
    risk = many.result.summary["pnl_settled.expected_shortfall_95"].to_numpy()
    reward = many.result.summary["pnl_settled.mean"].to_numpy()
    expected = {
        i
        for i in range(len(risk))
        if not any(
            risk[j] <= risk[i] and reward[j] >= reward[i] and (risk[j], reward[j]) != (risk[i], reward[i])
            for j in range(len(risk))
        )
    }
    assert set(frontier(risk, reward)) == expected


def test_the_best_and_what_is_not_shown_to_be_worse(small: Findings) -> None:
    result, means = small.result, small.result.summary["pnl_settled.controlled_mean"]
    assert small.best == int(means.argmax())
    bound = stats.t.isf(0.05 / 19, 63)
    for difference in result.differences(small.best, "pnl_settled.mean"):
        point = difference.point
        assert small.shortfall[point] == -difference.value
        assert small.shortfall_standard_error[point] == difference.standard_error
        assert (point in small.tied) == (-difference.value < bound * difference.standard_error)
        best = result.values(small.best, "pnl_settled") - result.values(point, "pnl_settled")
        assert small.shortfall[point] == pytest.approx(best.mean(), abs=5 * best.std() / math.sqrt(2000))
    assert small.tied  # or the case above was never put to the test
    # Taken apart, as if the points faced different markets, the same differences would be lost in the noise.
    own = result.summary["pnl_settled.standard_error"]
    apart = (means[small.best] - means) <= bound * np.hypot(own, own[small.best])
    assert apart.sum() - 1 > len(small.tied) + 1


def test_means_are_told_with_their_control_variates() -> None:
    findings = Findings.of(sweep(controls=True))
    row = findings.result.summary.iloc[findings.best]
    mean, error = row["pnl_settled.controlled_mean"], row["pnl_settled.controlled_standard_error"]
    assert row["pnl_settled.variance_reduction"] > 50
    assert f"${mean:.3f} (95% interval ${mean - 1.961 * error:.3f} to" in findings.sentences()[0]
    text = printed(findings)
    line = [line for line in text.splitlines() if re.match(r"\* +\d+ ", line)][1]
    gain = f"{row['pnl_settled.variance_reduction']:.0f}"
    plain = f"{row['pnl_settled.mean']:.2f}"
    assert line.split()[2:6] == [f"{mean:.4f}", f"{error:.4f}", plain, f"{float(gain):,.0f}"]
    assert "control variates" in without_lines(text)
    assert "control variates" not in without_lines(printed(Findings.of(sweep())))
    assert max(map(len, text.splitlines())) <= 80
    data = data_of(page(findings))
    assert data["objective"]["column"] == "pnl_settled.controlled_mean"
    # Luck taken out, fewer points can be the best.
    assert len(findings.tied) < len(Findings.of(sweep()).tied)


def test_points_equal_path_by_path_are_not_distinguishable() -> None:
    axes = {"quoting.base_spread": [0.04, 0.1], "quoting.policy": ["adaptive", "symmetric"]}
    findings = Findings.of(sweep(axes))
    assert findings.best == 2
    assert findings.tied == (3,)


@pytest.mark.parametrize(
    ("objective", "method"),
    [
        ("pnl_settled.mean", "paired"),
        ("pnl_settled.loss_chance", "paired"),
        ("halt.chance", "paired"),
        ("pnl_settled.expected_shortfall_95", "apart"),
        ("pnl_settled.p05", "none"),
    ],
)
def test_every_objective_has_its_answer(objective: str, method: str) -> None:
    findings = Findings.of(sweep(scenario={"risk": {"drawdown_limit": 30.0}}, objective=objective))
    assert findings.method == method
    column = findings.estimated(objective)
    assert (column == objective) == (objective != "pnl_settled.mean")
    assert findings.best == int(findings.result.summary[column].argmax())
    assert len(findings.sentences()) == 3
    assert describe(objective) in findings.sentences()[0]


def test_an_objective_that_applies_nowhere() -> None:
    findings = Findings.of(sweep(objective="breaker_overshoot.mean"))
    assert findings.best is None
    assert findings.sentences() == (
        "No point has a mean breaker_overshoot: it does not apply to this scenario.",
    )
    assert "breaker_overshoot" in printed(findings)
    assert "does not apply" in page(findings)


def test_the_sentences_carry_the_numbers_and_their_intervals(small: Findings) -> None:
    first, second, third = small.sentences()
    row = small.result.summary.iloc[small.best]
    mean, error = row["pnl_settled.controlled_mean"], row["pnl_settled.controlled_standard_error"]
    assert f"${mean:.2f} (95% interval ${mean - 1.961 * error:.2f} to ${mean + 1.961 * error:.2f})" in first
    assert "base_spread 0.16, inventory_limit 200" in first
    assert f"lose ${row['pnl_settled.expected_shortfall_95']:.2f} on average" in second
    assert f"{len(small.tied)} are not shown to be worse (paired differences; at most a 5% chance" in third


def test_a_best_point_at_the_edge_of_the_study_is_told(small: Findings) -> None:
    edge = "which has the largest base_spread and the largest inventory_limit of the study: a better one may"
    assert edge in small.sentences()[0]
    inside = Findings.of(
        sweep({"quoting.policy": ["adaptive", "symmetric"], "risk.drawdown_limit": [math.inf]})
    )
    assert "may lie beyond" not in inside.sentences()[0]


def test_one_path_a_point_tells_nothing_apart() -> None:
    assert "no difference is judged" in Findings.of(sweep(paths=1)).sentences()[2]


def test_a_tail_that_still_earns_is_no_loss() -> None:
    def safe(study: Any, scenario: Scenario) -> np.ndarray:
        values = market(study, scenario)
        values[NAMES.index("pnl_settled")] = 10 + np.arange(study.paths) / study.paths
        return values

    findings = Findings.of(FakeSweep(study(), safe))
    assert "worst 5% of paths still earn $10.02" in findings.sentences()[1]
    assert "<0.15% of paths end in a loss" in findings.sentences()[1]


def test_a_study_of_one_point() -> None:
    findings = Findings.of(sweep({"quoting.base_spread": [0.04]}))
    assert "nothing to compare" in findings.sentences()[2]
    assert "* " in printed(findings)
    assert page(findings)


def test_one_path() -> None:
    findings = Findings.of(sweep(paths=1))
    assert printed(findings)
    assert data_of(page(findings))["paths"] == 1


def test_can_halt() -> None:
    assert not can_halt(Scenario())
    for name in ("drawdown_limit", "loss_limit", "volume_limit"):
        assert can_halt(Scenario(risk={name: 5}))


# ---- terminal


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"axes": MANY, "paths": 100},
        {"axes": {"quoting.base_spread": [0.02, 0.04]}, "paths": 10**4},
        {"name": "x" * 300, "question": "long " * 100},
    ],
    ids=["grid", "many", "one axis", "long texts"],
)
def test_the_terminal_report_fits_80_columns(made: dict[str, Any]) -> None:
    text = printed(Findings.of(sweep(**made)))
    assert max(map(len, text.splitlines())) <= 80
    for heading in ("mean", "se", "sd", "VaR", "ES", "fills", "95%", "99%", "of loss", "of halt"):
        assert heading in text


def test_what_no_two_points_differ_in_is_said_once() -> None:
    axes = {"quoting.base_spread": [0.02, 0.04], "risk.inventory_limit": [50], "steps": [200]}
    text = printed(Findings.of(sweep(axes)))
    assert "At every point: inventory_limit 50, steps 200." in text
    assert re.search(r"\n +base +mean .*\n +point +spread +pnl \$ ", text)
    assert "At every point" not in printed(Findings.of(sweep({"quoting.base_spread": [0.02, 0.04]})))


def test_the_table_has_the_summarys_numbers(small: Findings) -> None:
    text = printed(small)
    row = small.result.summary.iloc[14]
    lines = [line for line in text.splitlines() if re.match(r"~ +14 ", line)]
    assert len(lines) == 2
    assert lines[0].split()[2:7] == [
        "0.1",
        "100",
        *(f"{row[f'pnl_settled.{part}']:.2f}" for part in ("mean", "standard_error", "sd")),
    ]
    parts = ("p01", "p05", "p50", "p95", "p99", "value_at_risk_95", "expected_shortfall_95")
    assert lines[1].split()[2:9] == [f"{row[f'pnl_settled.{part}']:.2f}" for part in parts]
    assert [line.split()[1] for line in text.splitlines() if line.startswith("*") and line[5:6] == " "] == [
        "19",
        "19",
    ]


def test_a_long_sweep_shows_the_best_and_the_worst_and_says_so(many: Findings) -> None:
    text = printed(many)
    shown = re.findall(r"^[*~ ] +(\d+) ", text, re.MULTILINE)
    expected = [str(row) for row in (*many.order[:15], *many.order[-3:])]
    assert shown[:18] == expected
    assert len(shown) % 18 == 0
    assert "The best 15 and the worst 3 of 200 points; 182 are left out here" in without_lines(text)


def test_no_halt_seen_and_no_halt_possible_are_two_things() -> None:
    axes = {"risk.drawdown_limit": [20.0, 500.0, math.inf]}
    findings = Findings.of(sweep(axes))
    assert [findings.chance(row, "halt.chance")[:1] for row in range(3)] != ["0", "0", "n"]
    assert [findings.chance(row, "halt.chance") for row in (1, 2)] == ["<0.15%", "none"]
    text = without_lines(printed(findings))
    assert "<: seen on none of 2,000 paths; the number is the 95% upper bound." in text
    assert "none: no breaker is set" in text
    html = page(findings)
    assert ">&lt;0.15%</td>" in html
    assert data_of(html)["chances"]["halt.chance"]["text"][1:] == ["<0.15%", "none"]


def test_a_studys_text_is_printed_as_it_is_and_moves_no_cursor() -> None:
    text = printed(Findings.of(sweep(name=HOSTILE, question="[red]why[/red]\x07\r\n\x1b[2J")))
    assert "[bold]" in text
    assert "[red]why[/red]" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_an_ascii_terminal_gets_ascii() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=80)
    print_report(Findings.of(sweep()), console)
    file.flush()
    assert b"point" in file.buffer.getvalue()  # type: ignore[attr-defined]


# ---- one simulation


def test_the_summary_of_a_simulation() -> None:
    chosen = study(scenario={"risk": {"drawdown_limit": 20.0}}, paths=20_000)
    scenario = chosen.scenario_at(10)
    values = market(chosen, scenario)
    text = printed_simulation(values, scenario)
    assert max(map(len, text.splitlines())) <= 80
    settled = values[NAMES.index("pnl_settled")]
    line = next(line for line in text.splitlines() if line.strip().startswith("pnl_settled"))
    assert line.split()[1:4] == [
        f"{settled.mean():.2f}",
        f"{settled.std(ddof=1) / math.sqrt(20_000):.2f}",
        f"{settled.std(ddof=1):.1f}",
    ]
    told = without_lines(text)
    trips = (values[NAMES.index("trips")] > 0).mean()
    assert f"A breaker tripped on {100 * trips:.2f}% of paths" in told
    assert "half of them by step 640" in told
    assert (
        "The same on every path: average_spread 0.07200; delay_cost, unwinding_cost, realised_overshoot, "
        in told
    )
    assert "20,000 paths of 1,000 steps, seed 7, policy adaptive, 0.50 s (40.0 million path-steps/s)" in told


def test_the_summary_names_every_metric_once() -> None:
    named = [name for _, names in SECTIONS for name in names]
    assert sorted(named) == sorted({*NAMES} - {"halt_reason"})


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("paths", [1, 2, 300])
def test_the_summary_fits_its_terminal(width: int, paths: int) -> None:
    chosen = study(paths=paths)
    text = printed_simulation(market(chosen, chosen.scenario_at(0)), chosen.scenario_at(0), width)
    assert max(map(len, text.splitlines())) <= min(width, 80)
    assert "No breaker is set, so no path halts." in without_lines(text)


def test_no_trip_seen_is_a_bound() -> None:
    chosen = study(scenario={"risk": {"drawdown_limit": 500.0}})
    text = printed_simulation(market(chosen, chosen.scenario_at(0)), chosen.scenario_at(0))
    assert "its chance is <0.15% (95% upper bound)" in without_lines(text)


# ---- report


def test_report_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    report(sweep(), html=file)
    assert "spread and inventory limit" in capsys.readouterr().out
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_real_sweep_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = runner.sweep(small_study(question="What does it earn?"), out=tmp_path / "run", jobs=1)
    report(result, html=tmp_path / "report.html")
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    best = int(result.summary["pnl_settled.controlled_mean"].argmax())
    assert f"at point {best} (base_spread " in without_lines(text)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = data_of(html)
    for point in result.points.index:
        assert sum(data["distributions"]["pnl_settled"][str(point)]["counts"]) == 300
    for part in ("pnl_settled.mean", "pnl_settled.expected_shortfall_95", "fills.mean"):
        np.testing.assert_allclose(data["columns"][part], result.summary[part], rtol=1e-4)
    assert result.study.digest() in html
