"""Calibration end to end: the answer, its evidence, its file, the command, and computing it all again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import mcmm
from mcmm.calibration import recompute
from mcmm.calibration.certificate import Certificate, seed_for
from mcmm.cli import main
from mcmm.errors import InputError
from mcmm.reports.certified import print_certificate

# One step in which a taker arrives and trades with chance arrival_rate: P(fills > 0) is the setting itself.
KNOWN = {
    "steps": 1,
    "market": {"volatility": 0.0},
    "flow": {"informed_fraction": 0.0, "price_sensitivity": 0.0},
}
QUESTION: dict[str, Any] = {
    "maximize": "flow.arrival_rate",
    "constraint": [{"probability": "fills > 0", "at_most": 0.01}],
    "search": {"flow.arrival_rate": {"low": 0.001, "high": 0.05}},
}


def ask(seed: int = 7, **tables: Any) -> mcmm.Study:
    return mcmm.Study(name="known", scenario=KNOWN, seed=seed, calibrate=QUESTION | tables)


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return mcmm.calibrate(ask())


def test_the_largest_setting_is_found_near_the_known_frontier_and_certified(certificate: Certificate) -> None:
    assert certificate.verdict == "certified"
    assert certificate.setting is not None
    assert 0.007 < certificate.setting["flow.arrival_rate"] <= 0.01
    assert certificate.answer.startswith(
        "largest arrival rate with P(fills > 0) <= 1%, at 95% confidence: 0.00"
    )
    trial = [each for each in certificate.document["trials"] if each["verdict"] == "certified"][-1]
    assert trial["cells"][0]["high"] <= 0.01
    assert certificate.document["seeds"]["certificate"] == seed_for("certificate", 7)
    assert len({*certificate.document["seeds"].values()}) == 4


def test_nothing_depends_on_the_number_of_threads(certificate: Certificate) -> None:
    again = mcmm.calibrate(ask(), jobs=3).document
    for name in certificate.document.keys() - {"provenance"}:
        assert again[name] == certificate.document[name], name


def test_a_certificate_is_read_back_and_computed_again_to_the_same_numbers(
    certificate: Certificate, tmp_path: Path
) -> None:
    path = tmp_path / "certificate.json"
    certificate.save(path)
    found = recompute(path)
    assert found.same, found.differences
    assert found.numbers > 100
    document = json.loads(path.read_text())
    document["trials"][0]["cells"][0]["high"] -= 1e-9
    document["answer"] += "0"
    path.write_text(json.dumps(document))
    lines = recompute(path).differences
    assert [line.partition(":")[0] for line in lines] == ["answer", "trials[0].cells[0].high"]


def test_what_no_setting_can_keep_is_infeasible_and_names_the_least_violated() -> None:
    search = {"flow.arrival_rate": {"low": 0.02, "high": 0.05}}
    found = mcmm.calibrate(ask(search=search))
    assert found.verdict == "infeasible"
    assert found.setting is None
    assert found.document["least_violated"] == {"flow.arrival_rate": 0.02}
    assert "the least violated is arrival rate 0.02, where P(fills > 0) is 2" in found.answer


def test_what_cannot_be_told_is_undecided_and_says_how_many_more_paths() -> None:
    found = mcmm.calibrate(ask(search={"flow.arrival_rate": [0.0099]}, paths=8192))
    assert found.verdict == "undecided"
    assert found.answer.startswith("undecided after 8,192 paths whether P(fills > 0) <= 1%")


def test_a_setting_that_keeps_the_bound_everywhere_is_taken_to_its_end() -> None:
    found = mcmm.calibrate(ask(search={"flow.arrival_rate": {"low": 0.001, "high": 0.004}}))
    assert found.setting == {"flow.arrival_rate": 0.004}


def test_the_smallest_setting_is_asked_for_with_a_minus() -> None:
    tables = {
        "maximize": "-flow.arrival_rate",
        "constraint": [{"mean": "fills", "at_least": 0.01}],
    }
    found = mcmm.calibrate(ask(**tables))
    assert found.setting is not None
    assert 0.01 <= found.setting["flow.arrival_rate"] < 0.013
    assert found.answer.startswith("smallest arrival rate with mean fills >= 0.01")


def test_choices_and_several_axes_are_searched_together(tmp_path: Path) -> None:
    """The best of what has a known best: the most fills at which one in a hundred paths fills."""
    search = {
        "flow.arrival_rate": {"low": 0.001, "high": 0.05},
        "quoting.quote_size": {"low": 1, "high": 20, "integer": True},
        "flow.size_distribution": ["fixed", "geometric"],
    }
    scenario = KNOWN | {"flow": KNOWN["flow"] | {"size_mean": 3.0}}
    robust = {"risk.inventory_limit": [50, 100], "market.initial_probability": [0.4, 0.5]}
    question = QUESTION | {"maximize": "mean(volume)", "search": search, "robust": robust, "paths": 65_536}
    found = mcmm.calibrate(mcmm.Study(name="known", scenario=scenario, seed=3, calibrate=question))
    assert found.verdict == "certified"
    setting = found.setting
    assert setting is not None
    assert 0.005 < setting["flow.arrival_rate"] <= 0.0105
    # A file sorts its tables: what is computed from it is the same all the same.
    path = tmp_path / "certificate.json"
    found.save(path)
    again = recompute(path)
    assert again.same, again.differences
    # Three contracts at most without a cut by the quote: the size hardly matters beyond that.
    assert setting["quoting.quote_size"] >= 3


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("", 0, "largest arrival rate"),
        ("low = 0.001, high = 0.05|low = 0.02, high = 0.05", 3, "no setting found"),
        ("{ low = 0.001, high = 0.05 }|[0.0099]", 4, "undecided after"),
        ("at_most = 0.01|at_most = 1.01", 2, ""),
        ("fills > 0|filles > 0", 2, ""),
    ],
)
def test_the_command_says_by_its_exit_code_what_was_found(
    change: str, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
name = "known"
seed = 7
[scenario]
steps = 1
market = { volatility = 0.0 }
flow = { informed_fraction = 0.0, price_sensitivity = 0.0 }
[calibrate]
maximize = "flow.arrival_rate"
paths = 8192
[[calibrate.constraint]]
probability = "fills > 0"
at_most = 0.01
[calibrate.search]
"flow.arrival_rate" = { low = 0.001, high = 0.05 }
"""
    study, out = tmp_path / "known.toml", tmp_path / "certificate.json"
    study.write_text(text.replace(*change.split("|")) if change else text)
    assert main(["calibrate", str(study), "--out", str(out)]) == code
    captured = capsys.readouterr()
    assert words in " ".join(captured.out.split())
    assert out.exists() == (code != 2)
    if code == 2:
        assert len(captured.err.splitlines()) == 1
        return
    assert main(["verify", str(out)]) == 0
    assert "the same: all" in capsys.readouterr().out
    page = out.with_suffix(".html").read_text()
    assert json.loads(out.read_text())["verdict"] in page
    assert "P(fills &gt; 0) &lt;= 1%" in page
    assert "<script" not in page
    out.write_text(out.read_text().replace('"undecided"', '"certified"').replace("0.01", "0.011"))
    assert main(["verify", str(out)]) in (1, 2)


def test_a_page_takes_nothing_of_a_study_for_markup() -> None:
    from mcmm.reports.certificate_page import certificate_page

    study = mcmm.Study(name="<script>alert(1)</script>", scenario=KNOWN, seed=7, calibrate=QUESTION)
    page = certificate_page(mcmm.calibrate(study))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("", "{}", "[1]", '{"schema": 9, "study": {}, "trials": [], "plan": {}}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"certificate|schema"):
            Certificate.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        Certificate.load(tmp_path / "none.json")


def test_a_study_without_a_question_is_refused() -> None:
    study = mcmm.Study(name="x", scenario={}, seed=1, paths=256, points={"axes": {"steps": [10, 20]}})
    with pytest.raises(InputError, match=r"has no \[calibrate\]"):
        mcmm.calibrate(study)
    with pytest.raises(InputError, match="jobs: must be"):
        mcmm.calibrate(ask(), jobs=0)


def test_the_limit_holds_in_every_world_and_the_binding_one_is_named() -> None:
    """The chance of a fill is the arrival rate times who is left: informed takers leave where p is known."""
    robust = {"flow.informed_fraction": [0.0, 0.2, 0.4]}
    alone, all_of_them = mcmm.calibrate(ask()), mcmm.calibrate(ask(robust=robust))
    assert all_of_them.verdict == "certified"
    rows = all_of_them.document["assumptions"]
    assert [row["world"]["flow.informed_fraction"] for row in rows if row["binds"]] == [0.0]
    assert all_of_them.setting is not None
    assert all_of_them.setting["flow.arrival_rate"] <= 0.01
    assert rows[2]["alone"] >= rows[0]["alone"] > 0.0
    assert not alone.document["assumptions"]
    assert "in each of 3 worlds" in all_of_them.answer


def test_a_breaker_is_set_below_the_drawdown_it_is_to_keep_and_shows_its_overshoot() -> None:
    scenario = {
        "steps": 200,
        "market": {"news_rate": 0.01, "news_strength": 0.3},
        "risk": {"mark": "fair", "breaker_action": "flatten"},
    }
    question = {
        "maximize": "risk.drawdown_limit",
        "paths": 16_384,
        "constraint": [{"probability": "max_drawdown_fair > 10", "at_most": 0.02}],
        "search": {"risk.drawdown_limit": {"low": 0.5, "high": 20.0}},
    }
    found = mcmm.calibrate(mcmm.Study(name="breaker", scenario=scenario, seed=7, calibrate=question))
    assert found.verdict == "certified"
    assert found.setting is not None
    (row,) = found.document["breaker"]
    assert row["trigger"] == found.setting["risk.drawdown_limit"] < 10.0
    assert 0.0 < row["tripped"] <= 1.0
    for name in ("at_the_trip", "in_the_end"):
        assert 0.0 < row[name]["50%"] < row[name]["99%"] <= row[name]["largest"]
    # The same setting on other paths: the realised drawdown keeps its bound with room for chance.
    run = mcmm.simulate(mcmm.Scenario(**scenario).replace(found.setting), paths=40_000, seed=99)
    assert (run.paths["max_drawdown_fair"] > 10).mean() <= 0.02


def test_what_no_path_did_is_never_written_as_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """In the trials, in what the search saw, and of a breaker that never tripped."""
    scenario = {"steps": 50, "risk": {"mark": "fair", "drawdown_limit": 900.0}}
    tables = {
        "maximize": "risk.inventory_limit",
        "paths": 4096,
        "constraint": [{"probability": "max_drawdown_fair > 900", "at_most": 0.01}],
        "search": {"risk.inventory_limit": {"low": 10, "high": 40, "integer": True}},
    }
    study = mcmm.Study(name="safe", question="Is it?", scenario=scenario, seed=3, calibrate=tables)
    certificate = mcmm.calibrate(study, jobs=1)
    print_certificate(certificate, Console(width=80))
    printed = capsys.readouterr().out
    assert "0 of 512" in printed
    assert "tripped on 0 of 512" in printed
    assert " 0% " not in "\n".join(line for line in printed.splitlines() if "certified" not in line)
    assert "nan" not in printed
    assert max(map(len, printed.splitlines())) <= 80
