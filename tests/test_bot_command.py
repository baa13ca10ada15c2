"""The command mcmm bot, as its user runs it: its output, its errors, its signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import mcmm
from mcmm import cli
from mcmm.recorded import replay
from mcmm.tape import read_tape

SCENARIO = """
steps = 300
[flow]
arrival_rate = 0.8
[recovery]
ramp_steps = 0
"""
COMMAND = [sys.executable, "-m", "mcmm", "bot"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scenario, which is where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maker.toml").write_text(SCENARIO)
    return tmp_path


def test_it_runs_a_path_of_simulate_and_says_what_it_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(["bot", "maker.toml", "--seed", "7", "--path", "4", "--log", "csv", "--every", "100"]) == 0
    )
    out = capsys.readouterr().out
    run = mcmm.simulate(mcmm.Scenario.load("maker.toml"), paths=1, seed=7, first_path=4, trace_paths=1)
    row = run.paths.iloc[0]
    assert f"{'fills':<24}{row['fills']}\n" in out
    assert f"{'pnl_settled':<24}{row['pnl_settled']:,.6g}\n" in out
    assert f"{'halt_reason':<24}none\n" in out
    assert out.endswith("wrote bots/maker\n")
    trace = pd.read_csv("bots/maker/trace.csv")
    pd.testing.assert_frame_equal(trace, run.trace, check_exact=True, check_dtype=False)
    kept = sorted(path.name for path in Path("bots/maker").iterdir())
    assert kept == [
        "journal.jsonl", "lock", "run.json",
        *(f"snapshot-{step:012d}.json" for step in (100, 200, 300)),
        "summary.csv", "trace.csv",
    ]  # fmt: skip
    assert cli.main(["bot", "maker.toml"]) == 2
    assert capsys.readouterr().err.startswith("error: bots/maker: holds a run; --resume goes on with it")
    assert cli.main(["bot", "--resume", "--out", "bots/maker", "--seed", "8"]) == 2
    assert capsys.readouterr().err == "error: --seed: must be the run's (7), got 8\n"
    assert cli.main(["bot", "--resume", "--out", "bots/maker"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("note: resumed: 300 steps from a snapshot; inventory ")
    assert told.out == out


def test_recorded_takers_are_kept_with_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders = pd.DataFrame(
        {"step": [3, 9, 200], "side": [1, -1, 1], "size": [4, 2, 8], "limit": [0.6, 0.1, 0.9]}
    )
    orders.to_csv("tape.csv", index=False)
    assert cli.main(["bot", "maker.toml", "--orders", "tape.csv"]) == 0
    capsys.readouterr()
    Path("tape.csv").unlink()
    assert cli.main(["bot", "--resume", "--out", "bots/maker"]) == 0
    run = mcmm.simulate(mcmm.Scenario.load("maker.toml"), paths=1, orders=orders)
    assert f"{'fills':<24}{run.paths.iloc[0]['fills']}\n" in capsys.readouterr().out


def test_a_tape_runs_as_replay_runs_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["time,contract,side,size,price", "1700000000,a,buy,5,0.52", "1700000009,b,buy,5,0.52"]
    rows += [
        f"{1700000010 + n},a,{'buy' if n % 3 else 'sell'},{1 + n % 7},{0.47 + n % 9 / 100:.2f}"
        for n in range(60)
    ]
    Path("tape.csv").write_text("\n".join(rows) + "\n")
    assert cli.main(["bot", "maker.toml", "--tape", "tape.csv"]) == 2
    assert "--contract: must name one of the tape's 2 contracts: a, b" in capsys.readouterr().err
    options = ["--capture", "0.5", "--step", "2"]
    assert cli.main(["bot", "maker.toml", "--tape", "tape.csv", "--contract", "a", *options]) == 0
    Path("tape.csv").rename("moved.csv")
    assert cli.main(["bot", "--resume", "--out", "bots/maker"]) == 0
    scenario = mcmm.Scenario.load("maker.toml")
    run = replay(read_tape("moved.csv"), scenario, step=2.0, capture=0.5, contracts=["a"], traces=1)
    trace = pd.read_json("bots/maker/trace.jsonl", lines=True, precise_float=True)
    wanted = run.trace.drop(columns=["contract", "time"])
    assert wanted["sold"].sum() > 0
    pd.testing.assert_frame_equal(trace, wanted, check_exact=True, check_dtype=False)


def test_a_tape_may_be_merged_as_for_replay(folder: Path) -> None:
    rows = [
        f"{1700000000 + n // 2},{'buy' if n // 2 % 3 else 'sell'},4,{0.47 + n // 2 % 9 / 100:.2f}"
        for n in range(60)
    ]
    Path("tape.csv").write_text("\n".join(["time,side,size,price", *rows]) + "\n")
    assert cli.main(["bot", "maker.toml", "--tape", "tape.csv", "--merge", "--log", "csv"]) == 0
    scenario, tape = mcmm.Scenario.load("maker.toml"), read_tape("tape.csv")
    wanted = replay(tape, scenario, merge=True, traces=1).trace.drop(columns=["contract", "time"])
    assert len(wanted) < len(replay(tape, scenario, traces=1).trace)
    assert wanted["sold"].sum() > 0
    trace = pd.read_csv("bots/maker/trace.csv")
    pd.testing.assert_frame_equal(trace, wanted, check_exact=True, check_dtype=False)


def test_stdin_drives_it_and_a_breaker_stays_tripped(folder: Path) -> None:
    def drive(*options: str, said: list[dict[str, object]]) -> tuple[list[dict[str, object]], str]:
        done = subprocess.run(
            [*COMMAND, *options, "--out", "run"],
            input="".join(json.dumps(line) + "\n" for line in said),
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    limits = ["--set", "risk.volume_limit=5", "--set", "risk.breaker_action=flatten"]
    first, err = drive("maker.toml", *limits, "--feed", "stdin", said=[{"seq": 0, "side": "buy", "size": 9}])
    told = ["ready", "quote", "trip", "unwind", "quote", "fill", "ack", "end"]
    assert [line["type"] for line in first] == told
    assert first[4]["ask_size"] == 0
    assert "warning: risk.breaker_action flatten: books the closing at the fair value" in err
    assert "note: step 0: the market: breaker tripped (volume), halted" in err
    again, err = drive("--resume", said=[{"seq": 1, "side": "buy", "size": 9}])
    assert {line["ask_size"] for line in again if line["type"] == "quote"} == {0}
    assert "fill" not in [line["type"] for line in again]
    assert "note: the market: still halted by a breaker" in err
    cleared, err = drive("--resume", "--reset-breaker", said=[{"seq": 2, "side": "buy", "size": 2}])
    assert "note: BREAKERS RESET: halts and pauses are cleared" in err
    assert "fill" in [line["type"] for line in cleared]
    assert '"kind":"reset","step":2' in (folder / "run" / "journal.jsonl").read_text()


def test_the_driver_of_the_page_drives_it(folder: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "bot.md").read_text("utf-8")
    code = next(block for block in page.split("```python\n")[1:] if "subprocess" in block).split("```")[0]
    assert '["mcmm", "bot"' in code
    code = code.replace('["mcmm", "bot"', f'[{sys.executable!r}, "-m", "mcmm", "bot"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 20
    assert lines[0] == "0 buy 1 @ 0.52"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout == ""
    assert "note: resumed: 20 steps from a snapshot" in again.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_snapshot_and_nothing_broken(folder: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*COMMAND, "maker.toml", "--pace", "100", "--lines"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    while '"fill"' not in (line := process.stdout.readline()):
        assert line, process.stderr
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    end = json.loads(out.splitlines()[-1])
    step = end["seq"]
    assert end["type"] == "end"
    assert 0 < step < 300
    assert err == f"interrupted: {number.name} after {step} steps, kept in bots/maker; --resume goes on\n"
    assert Path(f"bots/maker/snapshot-{step:012d}.json").exists()
    assert cli.main(["bot", "--resume", "--out", "bots/maker"]) == 0
    run = mcmm.simulate(mcmm.Scenario.load("maker.toml"), paths=1, trace_paths=1)
    trace = pd.read_json("bots/maker/trace.jsonl", lines=True, precise_float=True)
    pd.testing.assert_frame_equal(trace, run.trace, check_exact=True, check_dtype=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_on_a_terminal_there_is_a_view(folder: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "maker.toml", "--pace", "400"], stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )  # fmt: skip
    os.close(theirs)
    seen, until = b"", time.monotonic() + 30
    while time.monotonic() < until:
        try:
            found = os.read(ours, 1 << 16)
        except OSError:
            break
        seen += found
        if not found:
            break
    os.close(ours)
    process.communicate(timeout=30)
    assert process.returncode == 0
    for word in (b"step 300 of 300", b"risk layers, in the order they act", b"inventory", b"last fills"):
        assert word in seen


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "SCENARIO.toml: must be given, or --resume with the --out of a run"),
        (["--resume"], "SCENARIO.toml: must be given, or --resume with the --out of a run"),
        (["--out", "a"], "SCENARIO.toml: must be given, but for --resume"),
        (["--resume", "--out", "a"], "SCENARIO.toml: must be given: a holds no run to resume"),
        (["maker.toml", "--pace", "-1"], "--pace: must be >= 0"),
        (
            ["maker.toml", "--pace", "1", "--feed", "stdin"],
            "--pace: must be >= 0, and left out with --feed stdin",
        ),
        (["maker.toml", "--every", "0"], "--every: must be >= 1, got 0"),
        (["maker.toml", "--keep", "0"], "--keep: must be >= 1, got 0"),
        (["maker.toml", "--reset-breaker"], "--reset-breaker: needs --resume"),
        (
            ["maker.toml", "--orders", "x.csv", "--feed", "stdin"],
            "--orders, --tape, --feed stdin: at most one of them says who the takers are",
        ),
        (["maker.toml", "--path", "-1"], "path: must be a whole number >= 0"),
        (["maker.toml", "--set", "risk.mark=odd"], "risk.mark: must be"),
        (["none.toml"], "none.toml: cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    folder: Path, arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bot", *arguments]) == 2
    assert f"error: {why}" in capsys.readouterr().err
    assert not list(folder.rglob("run.json"))


def test_the_shipped_scenarios_run_on_stdin_and_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = str(Path(__file__).parents[1] / "scenarios" / "kalshi_macro.toml")
    assert mcmm.Scenario.load(shipped).quoting.reference_noise > 0.0
    started = [*COMMAND, "--feed", "stdin", "--out", "run"]
    for seq, options in enumerate(([shipped], ["--resume"], [shipped, "--resume"])):
        done = subprocess.run(
            [*started, *options], input=f'{{"seq": {seq}}}\n', capture_output=True, text=True, check=True
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        assert {"type": "ack", "seq": seq} in said
        assert ("warning: quoting.reference_noise: taken for 0, the reference price is" in done.stderr) == (
            shipped in options
        )


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--pace", "nan"], "--pace: must be >= 0, and left out with --feed stdin, got nan"),
        (["--capture", "0.2", "--step", "1"], "--step, --capture: must be left out without --tape"),
        (["--contract", "X", "--merge"], "--contract, --merge: must be left out without --tape"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], wrong: str
) -> None:
    assert cli.main(["bot", "maker.toml", *options]) == 2
    assert capsys.readouterr().err == f"error: {wrong}\n"
    assert not Path("bots").exists()
