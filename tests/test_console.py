from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from mcmm import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def run_for(seconds: float, clock: Clock) -> None:
    with console.ProgressBar("simulating", path_steps_per_unit=1000) as progress:
        progress(0, 1000)
        for done in range(100, 1001, 100):
            clock.now += seconds / 10
            progress(done, 1000)


def test_a_long_run_on_a_terminal_shows_rate_and_time_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    run_for(10.0, clock)
    shown = sys.stderr.getvalue()
    assert "simulating" in shown
    assert "100 k path-steps/s, 8s left" in shown
    assert capsys.readouterr().out == ""


def test_a_short_run_shows_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    run_for(1.9, clock)
    assert sys.stderr.getvalue() == ""


def test_nothing_is_shown_where_there_is_no_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run_for(100.0, clock)
    assert sys.stderr.getvalue() == ""


def test_work_done_before_does_not_count_as_speed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.ProgressBar("sweeping") as progress:
        progress(8_000_000, 10_000_000)
        clock.now += 10.0
        progress(9_000_000, 10_000_000)
    assert "90%" in terminal.getvalue()
    assert "100 k path-steps/s, 10s left" in terminal.getvalue()


def test_an_error_is_marked_on_each_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_error("steps: must be >= 1, got 0\nflow.model: no such model")
    assert capsys.readouterr().err == "error: steps: must be >= 1, got 0\nerror: flow.model: no such model\n"


@pytest.mark.parametrize(
    ("speed", "text"),
    [
        (131.4e6, "131 M path-steps/s"),
        (1.02e9, "1.02 G path-steps/s"),
        (400e3, "400 k path-steps/s"),
        (2.5e6, "2.5 M path-steps/s"),
    ],
)
def test_rate(speed: float, text: str) -> None:
    assert console.rate(speed) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (185, "3m 05s"), (4800, "1h 20m"), (90000, "25h 00m")],
)
def test_duration(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


class Notebook:
    """IPython's kernel and what it displays, as far as a bar asks for them."""

    kernel = object()

    def __init__(self) -> None:
        self.shown: list[str] = []

    def get_ipython(self) -> Notebook:
        return self

    def display(self, thing: Any, display_id: bool) -> Notebook:
        assert display_id
        return self

    def update(self, thing: Any) -> None:
        self.shown.append(thing._repr_html_())


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    found = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", found)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", found)  # type: ignore[arg-type]
    return found


def test_a_notebook_shows_a_bar_in_its_cell(
    clock: Clock, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    run_for(10.0, clock)
    assert 5 <= len(notebook.shown) <= 10
    assert notebook.shown[-1].startswith('simulating <progress value="1.0000" max="1"></progress> 100%')
    assert "100 k path-steps/s" in notebook.shown[-1]
    assert capsys.readouterr() == ("", "")


def test_a_short_run_in_a_notebook_shows_nothing(clock: Clock, notebook: Notebook) -> None:
    run_for(1.0, clock)
    assert notebook.shown == []


def test_what_is_no_path_is_counted_by_its_own_name(clock: Clock, notebook: Notebook) -> None:
    with console.ProgressBar("verifying", unit="cells") as progress:
        for done in range(0, 101, 10):
            progress(done, 100)
            clock.now += 1.0
    assert "10 cells/s" in notebook.shown[-1]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (5_430_000, "5.43 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert console.size(count) == text
