"""The command: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcmm
from mcmm import cli
from mcmm._isa import builds

COMMANDS = ("simulate", "sweep", "report", "verify", "runs", "schema", "info")
SCENARIO = "steps = 60\n[quoting]\nbase_spread = 0.06\n[risk]\ndrawdown_limit = 3.0\n"
STUDY = """
name = "two spreads"
question = "Which of two spreads earns more?"
scenario = "scenario.toml"
paths = 300
seed = 5
[points]
design = "grid"
[points.axes]
"quoting.base_spread" = [0.02, 0.06]
"risk.inventory_limit" = [20, 60]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*arguments: str) -> subprocess.Popen[str]:
    # PYTHONUNBUFFERED: what was printed before a signal is seen.
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(Path(mcmm.__file__).parent.parent),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mcmm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def start_sweep(*arguments: str) -> subprocess.Popen[str]:
    """A sweep of study.toml into run, which has written its first chunk."""
    process = start("sweep", "study.toml", "--out", "run", *arguments)
    deadline = time.monotonic() + 60
    while not list(Path("run/chunks").glob("*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


class TestHelp:
    def test_the_command_lists_its_commands(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--help"]) == 0
        out = capsys.readouterr().out
        assert all(f" {command} " in out for command in COMMANDS)
        assert "mcmm sweep sweeps/quickstart.toml" in out

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_teaches_by_example(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert "Example" in out
        assert out.count(f"mcmm {command}") >= 2

    def test_no_command_is_a_request_for_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main([]) == 0
        assert "Usage: mcmm" in capsys.readouterr().out

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out == f"mcmm {mcmm.__version__}\n"


class TestSimulate:
    def test_prints_a_summary_that_depends_on_the_seed_alone(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = []
        for options in (["--jobs", "1"], ["--jobs", "2"], ["--seed", "8"]):
            assert cli.main(["simulate", "scenario.toml", "--paths", "500", "--seed", "7", *options]) == 0
            out, err = capsys.readouterr()
            assert err == ""
            shown.append(out)
        assert "500 paths" in shown[0]
        assert "pnl_settled" in shown[0]
        assert shown[0] == shown[1] != shown[2]
        assert max(len(line) for line in shown[0].splitlines()) <= 80

    @pytest.mark.parametrize("name", ["paths.parquet", "paths.csv"])
    def test_writes_a_row_per_path(self, folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["simulate", "scenario.toml", "-n", "70", "-s", "7", "--first-path", "100", "--out", name]
        assert cli.main(arguments) == 0
        assert f"wrote {name}\n" in capsys.readouterr().out
        stored = pd.read_parquet(name) if name.endswith("parquet") else pd.read_csv(name, dtype=str)
        expected = mcmm.simulate(mcmm.Scenario.loads(SCENARIO), paths=70, seed=7, first_path=100).paths
        numbers = stored.reset_index()[["path", "fills", "pnl_settled", "max_drawdown", "halt_step"]].astype(
            float
        )
        np.testing.assert_array_equal(numbers, expected.reset_index()[numbers.columns])

    def test_set_changes_settings(self, folder: Path) -> None:
        options = [
            "--set",
            "quoting.base_spread=0.1",
            "--set",
            "quoting.policy=symmetric",
            "--set",
            "steps=30",
        ]
        assert cli.main(["simulate", "scenario.toml", "-n", "50", "--out", "a.parquet", *options]) == 0
        changes = {"quoting.base_spread": 0.1, "quoting.policy": "symmetric", "steps": 30}
        expected = mcmm.simulate(mcmm.Scenario.loads(SCENARIO).replace(changes), paths=50)
        stored = mcmm.Simulation.load("a.parquet")
        assert stored.scenario == expected.scenario
        np.testing.assert_array_equal(stored.values, expected.values)

    @pytest.mark.parametrize("ending", ["parquet", "csv"])
    def test_writes_the_steps_of_traced_paths(self, folder: Path, ending: str) -> None:
        out = f"paths.{ending}"
        assert cli.main(["simulate", "scenario.toml", "-n", "9", "--out", out, "--trace", "2"]) == 0
        name = f"paths.trace.{ending}"
        trace = pd.read_parquet(name) if ending == "parquet" else pd.read_csv(name)
        assert len(trace) == 2 * 60
        assert {"path", "step", "probability", "mid", "bid", "ask", "inventory", "pnl"} <= set(trace.columns)
        assert sorted(set(trace["path"])) == [0, 1]

    @pytest.mark.parametrize("ending", ["parquet", "csv"])
    def test_replays_orders(self, folder: Path, ending: str) -> None:
        (folder / "replay.toml").write_text(
            'steps = 10\n[flow]\nmodel = "replay"\n[market]\nvolatility = 0.0\n'
        )
        orders = pd.DataFrame({"step": [1, 4, 7], "side": [1, -1, 1], "size": [2, 5, 1]})
        if ending == "csv":
            orders.to_csv("orders.csv", index=False)
        else:
            orders.to_parquet("orders.parquet")
        arguments = [
            "simulate",
            "replay.toml",
            "-n",
            "1",
            "--orders",
            f"orders.{ending}",
            "--out",
            "a.parquet",
        ]
        assert cli.main(arguments) == 0
        run = mcmm.Simulation.load("a.parquet")
        assert run.paths["fills"].tolist() == [3]
        assert run.paths["volume"].tolist() == [8]
        assert run.paths["final_inventory"].tolist() == [2]

    def test_a_stored_simulation_is_reported_as_it_was(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["simulate", "scenario.toml", "-n", "200", "--out", "a.parquet"]) == 0
        first = capsys.readouterr().out
        assert cli.main(["report", "a.parquet"]) == 0
        assert capsys.readouterr().out == first.replace("wrote a.parquet\n", "")


class TestSweep:
    def test_sweep_report_and_sweep_again(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["sweep", "study.toml", "--jobs", "2"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "Which of two spreads earns more?" in out
        assert out.endswith("wrote runs/study/report.html\n")
        page = Path("runs/study/report.html")
        assert "Which of two spreads earns more?" in page.read_text("utf-8")
        chunks = {path: path.stat().st_mtime_ns for path in Path("runs/study/chunks").iterdir()}
        assert chunks

        assert cli.main(["sweep", "study.toml"]) == 0
        assert {path: path.stat().st_mtime_ns for path in Path("runs/study/chunks").iterdir()} == chunks

        page.unlink()
        assert cli.main(["report", "runs/study"]) == 0
        assert page.exists()
        assert cli.main(["report", "runs/study", "--html", "elsewhere.html"]) == 0
        assert Path("elsewhere.html").stat().st_size > 10_000

    def test_backend_and_directory_by_choice(self, folder: Path) -> None:
        assert cli.main(["sweep", "study.toml", "--out", "here", "--jobs", "1"]) == 0
        assert cli.main(["sweep", "study.toml", "--out", "there", "--jobs", "2", "--backend", "loky"]) == 0
        here, there = mcmm.SweepResult.load("here"), mcmm.SweepResult.load("there")
        pd.testing.assert_frame_equal(here.summary, there.summary, check_exact=True)

    def test_a_damaged_chunk_is_computed_again_with_a_warning(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["sweep", "study.toml", "--out", "run"]) == 0
        before = mcmm.SweepResult.load("run").summary
        capsys.readouterr()
        chunk = next(Path("run/chunks").iterdir())
        chunk.write_bytes(chunk.read_bytes()[:-100])
        assert cli.main(["sweep", "study.toml", "--out", "run"]) == 0
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("warning: ")
        assert chunk.name in line
        pd.testing.assert_frame_equal(mcmm.SweepResult.load("run").summary, before, check_exact=True)

    def test_a_directory_of_another_study_is_left_alone(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["sweep", "study.toml", "--out", "run"]) == 0
        files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
        capsys.readouterr()
        Path("other.toml").write_text(STUDY.replace("seed = 5", "seed = 6"))
        assert cli.main(["sweep", "other.toml", "--out", "run"]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == files


BAD_INPUT = {
    "no such scenario": (["simulate", "absent.toml"], "absent.toml"),
    "a directory for a scenario": (["simulate", "folder"], "folder"),
    "a scenario that is not TOML": (["simulate", "broken.toml"], "broken.toml"),
    "a misspelt setting": (["simulate", "typo.toml"], "quoting.base_spred"),
    "a value out of its range": (["simulate", "negative.toml"], "risk.inventory_limit"),
    "a setting that is none": (
        ["simulate", "scenario.toml", "--set", "risk.inventry_limit=5"],
        "inventry_limit",
    ),
    "a wrong value by --set": (["simulate", "scenario.toml", "--set", "steps=0"], "steps"),
    "a word for a number": (["simulate", "scenario.toml", "--set", "steps=many"], "steps"),
    "--set without a value": (["simulate", "scenario.toml", "--set", "steps"], "--set"),
    "no paths": (["simulate", "scenario.toml", "--paths", "0"], "--paths: must be >= 1, got 0"),
    "paths beyond memory": (["simulate", "scenario.toml", "--paths", str(10**12)], "GB of memory"),
    "paths that are no number": (["simulate", "scenario.toml", "--paths", "many"], "--paths"),
    "a negative seed": (["simulate", "scenario.toml", "--seed", "-1"], "seed"),
    "a seed beyond its range": (["simulate", "scenario.toml", "--seed", str(2**200)], "seed"),
    "a negative first path": (["simulate", "scenario.toml", "--first-path", "-1"], "--first-path"),
    "a first path beyond its range": (
        ["simulate", "scenario.toml", "--first-path", str(2**200)],
        "--first-path",
    ),
    "no workers": (["simulate", "scenario.toml", "--jobs", "0"], "--jobs"),
    "an output of unknown kind": (["simulate", "scenario.toml", "--out", "a.xls"], "a.xls: must end in"),
    "an output nowhere": (["simulate", "scenario.toml", "--out", "no/a.csv"], "no/a.csv: cannot be written"),
    "an output that is a directory": (
        ["simulate", "scenario.toml", "--out", "folder.csv"],
        "it is a directory",
    ),
    "a trace without an output": (["simulate", "scenario.toml", "--trace", "2"], "--trace: needs --out"),
    "a negative trace": (["simulate", "scenario.toml", "--trace", "-2"], "--trace: must be >= 0"),
    "orders that are not there": (["simulate", "replay.toml", "--orders", "absent.csv"], "absent.csv"),
    "orders without a side": (["simulate", "replay.toml", "--orders", "orders.csv"], "side"),
    "a replay without orders": (["simulate", "replay.toml"], "orders"),
    "an unknown option": (["simulate", "scenario.toml", "--path", "5"], "--paths"),
    "an unknown command": (["simulat"], "simulat"),
    "a missing argument": (["simulate"], "SCENARIO.toml"),
    "no such study": (["sweep", "absent.toml"], "absent.toml"),
    "an empty scenario": (["simulate", "empty.toml"], "empty.toml"),
    "an empty study": (["sweep", "empty.toml"], "points: "),
    "a directory for a study": (["sweep", "folder"], "folder"),
    "a scenario for a study": (["sweep", "scenario.toml"], "is a scenario, not a study"),
    "a study for a scenario": (["simulate", "study.toml"], "is a study, not a scenario"),
    "a run directory that is a file": (["sweep", "study.toml", "--out", "scenario.toml"], "scenario.toml"),
    "an unknown backend": (["sweep", "study.toml", "--backend", "mpi"], "mpi"),
    "no workers for a sweep": (["sweep", "study.toml", "--jobs", "0"], "--jobs"),
    "no such run": (["report", "absent"], "absent"),
    "no such simulation": (["report", "absent.parquet"], "absent.parquet"),
    "a run that is none": (["report", "folder"], "folder"),
    "a simulation that is none": (["report", "text.parquet"], "text.parquet"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_ends_with_one_clear_line(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcmm.engine.run_rows", never)
    (folder / "folder").mkdir()
    (folder / "folder.csv").mkdir()
    for name, text in {
        "empty.toml": "",
        "broken.toml": "steps = \n",
        "typo.toml": "[quoting]\nbase_spred = 0.05\n",
        "negative.toml": "[risk]\ninventory_limit = -5\n",
        "replay.toml": '[flow]\nmodel = "replay"\n',
        "orders.csv": "step,size\n1,5\n",
        "text.parquet": "text",
    }.items():
        (folder / name).write_text(text)
    before = sorted(folder.rglob("*"))
    arguments, named = BAD_INPUT[case]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert all(line.startswith("error: ") for line in err.splitlines())
    # What a whole file lacks has a line each; any other fault has one line.
    assert len(err.splitlines()) == 1 or case == "an empty study"
    assert sorted(folder.rglob("*")) == before


def never(*_: object, **__: object) -> None:
    raise AssertionError("simulated in spite of bad input")


def test_every_problem_of_a_scenario_has_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text("steps = 0\n[quoting]\nquote_size = 0\n")
    assert cli.main(["simulate", "bad.toml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True]
    assert any("steps" in line for line in lines)
    assert any("quoting.quote_size" in line for line in lines)


class TestEndings:
    def test_a_fault_of_ours_keeps_its_traceback(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mcmm.engine.simulate", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli.main(["simulate", "scenario.toml"])

    def test_out_of_memory(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr("mcmm.engine.simulate", fail)
        assert cli.main(["simulate", "scenario.toml"]) == 1
        assert capsys.readouterr().err.startswith("error: out of memory")

    def test_a_warning_is_one_line(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        simulate = mcmm.simulate

        def warn(*args: object, **options: object) -> object:
            warnings.warn("mind\nthe gap", stacklevel=2)
            return simulate(*args, **options)

        monkeypatch.setattr("mcmm.engine.simulate", warn)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            assert cli.main(["simulate", "scenario.toml", "-n", "2"]) == 0
        assert capsys.readouterr().err == "warning: mind the gap\n"

    def test_interrupted_outside_the_work(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("mcmm.scenario.Scenario.load", interrupt)
        assert cli.main(["simulate", "scenario.toml"]) == 130
        assert capsys.readouterr().err == "interrupted: before it was done\n"

    def test_run_as_a_module(self) -> None:
        process = start("--version")
        assert process.communicate(timeout=60) == (f"mcmm {mcmm.__version__}\n", "")
        assert process.returncode == 0

    def test_bad_input_of_a_process_ends_with_2(self) -> None:
        process = start("simulate", "absent.toml")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.count("\n")) == (2, "", 1)

    def test_a_closed_pipe_is_no_fault(self, folder: Path) -> None:
        process = start("schema")
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        process.wait(timeout=60)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()

    @pytest.mark.parametrize("jobs", ["1", "2"])
    def test_interrupted_simulation(self, folder: Path, jobs: str) -> None:
        process = start("simulate", "scenario.toml", "--set", "steps=100_000", "-n", "200_000", "-j", jobs)
        time.sleep(3)
        assert process.poll() is None, "it ended before it could be interrupted"
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - interrupted < 3
        assert (process.returncode, out) == (130, "")
        # Where starting takes longer than that it says so in other words, and that is no fault.
        assert err in ("interrupted: nothing was written\n", "interrupted: before it was done\n")

    def test_interrupted_sweep_resumes(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        study = STUDY.replace("paths = 300", "paths = 20_000").replace('"scenario.toml"', '"long.toml"')
        Path("long.toml").write_text(SCENARIO.replace("steps = 60", "steps = 5_000"))
        Path("study.toml").write_text(study)
        process = start_sweep("-j", "1")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        [line] = err.splitlines()
        assert line.startswith("interrupted: ")
        assert line.endswith("% done, kept in run; run the same command again to resume")
        assert cli.main(["sweep", "study.toml", "--out", "run"]) == 0
        # What was kept was not computed again.
        first, second = json.loads(Path("run/manifest.json").read_text())["sessions"]
        assert first["path_steps"] > 0
        assert first["path_steps"] + second["path_steps"] == 4 * 20_000 * 5_000

    def test_a_terminated_sweep_ends_as_an_interrupted_one(self, folder: Path) -> None:
        """And with no word of its processes from joblib's watch over what they leave behind."""
        Path("study.toml").write_text(STUDY.replace("paths = 300", "paths = 4_000_000"))
        process = start_sweep("-j", "2", "--backend", "loky")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        told = r"interrupted: \d+% done, kept in run; run the same command again to resume\n"
        assert re.fullmatch(told, err)


def test_schema_describes_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"steps", "market", "flow", "fees", "quoting", "risk", "recovery"} <= set(schema["properties"])


def test_info_measures_and_names_the_build(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = cli.measure_throughput
    monkeypatch.setattr(cli, "measure_throughput", lambda workers, seconds: measure(workers, seconds / 20))
    assert cli.main(["info"]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["mcmm"] == mcmm.__version__
    assert shown["builds"].split(", ") == list(builds())
    assert shown["isa"] in builds()
    assert shown["1"].startswith("core ")
    assert "path-steps/s" in shown["1"]
