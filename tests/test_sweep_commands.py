"""The commands about sweeps: --dry-run, --resume, verify and runs, and what they say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mcmm import cli

STUDY = """
name = "two spreads"
paths = 300
seed = 5
[scenario]
steps = 50
[points.axes]
"quoting.base_spread" = [0.02, 0.06]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study, which is where the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def test_a_dry_run_says_what_it_takes_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", "study.toml", "--dry-run", "-j", "1"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["points", "paths", "path-steps", "done", "time", "disk"]
    assert lines["points"] == "2"
    assert lines["paths"] == "300 each; 600 in all"
    assert lines["path-steps"] == "3e+04"
    assert lines["done"] == "nothing yet in runs/study"
    assert "on 1 worker of this machine, at " in lines["time"]
    assert lines["time"].endswith("path-steps/s, without the report")
    assert [path.name for path in folder.iterdir()] == ["study.toml"]
    assert cli.main(["sweep", "study.toml"]) == 0
    capsys.readouterr()
    assert cli.main(["sweep", "study.toml", "--dry-run"]) == 0
    assert "done        100%, in runs/study\n" in capsys.readouterr().out


def test_where_a_page_cannot_be_written_the_way_around_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", "study.toml"]) == 0
    page = Path("runs/study/report.html")
    page.unlink()
    page.mkdir()
    capsys.readouterr()
    assert cli.main(["report", "runs/study"]) == 2
    told = (
        "runs/study/report.html: cannot be written: it is a directory; --html FILE of `mcmm report` writes it"
    )
    assert capsys.readouterr() == ("", f"error: {told} elsewhere\n")


def test_of_very_many_points_there_is_no_page(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million would take it gigabytes; the table has all of them, and the terminal the best."""
    for module in ("study", "estimate", "reports.terminal"):
        monkeypatch.setattr(f"mcmm.{module}.MANY_POINTS", 50)
    axis = '"quoting.base_spread" = { low = 0.02, high = 0.06, count = 60 }'
    Path("study.toml").write_text(STUDY.replace('"quoting.base_spread" = [0.02, 0.06]', axis))
    assert cli.main(["sweep", "study.toml", "--dry-run"]) == 0
    assert "report.html" not in capsys.readouterr().out
    for command in (["sweep", "study.toml"], ["report", "runs/study"]):
        assert cli.main(command) == 0
        out, err = capsys.readouterr()
        assert err == "note: no page is written for more than 50 points\n"
        assert "The best 15 and the worst 3 of 60 points" in out
        assert " in the run directory's summary.parquet. " in " ".join(out.split())
        assert not Path("runs/study/report.html").exists()
    assert cli.main(["report", "runs/study", "--html", "page.html"]) == 2
    told = "error: html, png: a page has room for 50 points, and this sweep has 60; runs/study/summary"
    assert capsys.readouterr().err.startswith(told)


def test_resume_is_implied_and_may_be_said(folder: Path) -> None:
    assert cli.main(["sweep", "study.toml", "--resume"]) == 0
    files = {path: path.stat().st_mtime_ns for path in Path("runs/study/chunks").iterdir()}
    assert cli.main(["sweep", "study.toml", "--resume", "--jobs", "-1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in Path("runs/study/chunks").iterdir()} == files


def test_verify_says_who_made_and_who_checked_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", "study.toml"]) == 0
    capsys.readouterr()
    assert cli.main(["verify", "runs/study", "--cells", "1", "--seed", "3"]) == 0
    made, checked, result = capsys.readouterr().out.splitlines()
    assert made.removeprefix("made by") == checked.removeprefix("checked by").rjust(len(made) - 7)
    assert "mcmm 0." in made
    assert result == "result      the same bits in 1 of 2 cells (seed 3) of runs/study"
    assert cli.main(["verify", "runs/study", "--all"]) == 0
    assert capsys.readouterr().out.endswith("the same bits in 2 of 2 cells of runs/study\n")


def test_verify_ends_with_1_where_something_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", "study.toml"]) == 0
    summary = pd.read_parquet("runs/study/summary.parquet")
    summary.loc[1, "pnl.mean"] += 0.5
    summary.to_parquet("runs/study/summary.parquet")
    capsys.readouterr()
    assert cli.main(["verify", "runs/study", "--all"]) == 1
    out, err = capsys.readouterr()
    assert "NOT the same: 2 of 2 cells of runs/study" in out
    (line,) = err.splitlines()
    assert line.startswith(
        "error: point 1 (quoting.base_spread = 0.06), paths 0 to 299: pnl.mean in summary.parquet"
    )


def test_runs_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runs").mkdir()
    assert cli.main(["runs"]) == 0
    assert capsys.readouterr().out == "no run directories in runs\n"
    assert cli.main(["sweep", "study.toml"]) == 0
    (folder / "runs" / "broken").mkdir()
    (folder / "runs" / "broken" / "manifest.json").write_text("{")
    capsys.readouterr()
    assert cli.main(["runs"]) == 0
    out, err = capsys.readouterr()
    head, broken, study = out.splitlines()
    assert head.split() == ["run", "state", "study", "points", "paths", "begun", "took", "disk"]
    assert broken.split()[:2] == ["runs/broken", "unreadable"]
    assert study.split()[:2] == ["runs/study", "finished"]
    assert "two spreads  2       300" in study
    assert err.startswith("warning: runs/broken: is damaged")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sweep", "study.toml", "--backend", "dask"], "scheduler: must be given with backend dask"),
        (
            ["sweep", "study.toml", "--scheduler", "tcp://x:1"],
            "scheduler: must be left out with backend threading",
        ),
        (["verify", "absent"], "absent: does not exist"),
        (["verify", "study.toml"], "study.toml: is not a directory"),
        (["verify", "."], "is not a run directory"),
        (["verify", ".", "--cells", "0"], "--cells: must be >= 1, got 0"),
        (["runs", "absent"], "absent: cannot be read"),
    ],
)
def test_bad_input_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert out == ""
    assert [path.name for path in folder.iterdir()] == ["study.toml"]
