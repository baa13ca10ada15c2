"""How things are timed and shown: in turn, round after round, and as the median over the rounds.

What else the machine does falls on all alike. A ratio is the median over the rounds of the two times taken in
the same round.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = [
    "Target",
    "Times",
    "circumstances",
    "interleave",
    "measured",
    "per_path_step",
    "processor_says",
    "ratio",
    "table",
    "target_table",
]

Times = Mapping[str, list[float]]
Subject = Callable[[int], float]
"""Takes a round's number, as a seed, and returns what the round took, in a unit of its own."""


def per_path_step(
    run: Callable[[int, int], Any], paths: int, steps: int, clock: Callable[[], float] = time.thread_time
) -> Subject:
    """A subject: nanoseconds per path-step of ``run(paths, seed)``, in processor time of this thread."""

    def timed(seed: int) -> float:
        start = clock()
        run(paths, seed)
        return (clock() - start) * 1e9 / (paths * steps)

    return timed


def interleave(subjects: Mapping[str, Subject], rounds: int) -> dict[str, list[float]]:
    """What each subject took, a number a round; one round more, the first, warms up."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for seed in range(rounds + 1):
        for name, subject in subjects.items():
            took = subject(seed)
            if seed > 0:
                times[name].append(took)
    return times


def ratio(times: Times, slower: str, faster: str) -> tuple[float, float, float]:
    """Median, least and greatest over the rounds of how many times as long one takes as the other."""
    ratios = [a / b for a, b in zip(times[slower], times[faster], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def measured(values: tuple[float, float, float]) -> str:
    """A median with its range."""
    middle, least, most = values
    return f"{middle:.2f} ({least:.2f}-{most:.2f})"


@dataclass(frozen=True)
class Target:
    """A figure beside what it has to be: at least, or at most, the aim."""

    what: str
    value: float
    aim: float
    at_least: bool
    shown: str
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side of its aim."""
        return self.value >= self.aim if self.at_least else self.value <= self.aim

    def row(self) -> str:
        """A row of the table of targets."""
        bound = "at least" if self.at_least else "at most"
        return (
            f"| {self.what} | {self.shown}{self.unit} | {bound} {self.aim:g}{self.unit} | {self.met_text} |"
        )

    @property
    def met_text(self) -> str:
        """For the last column: a miss has to catch the eye."""
        return "yes" if self.met else "**no**"


def table(header: str, rows: Sequence[str]) -> str:
    """A Markdown table whose first column is text and whose others are figures."""
    columns = header.count("|") - 1
    return "\n".join([header, "|---" + "|--:" * (columns - 1) + "|", *rows])


def target_table(targets: Sequence[Target]) -> str:
    """Every ratio beside its aim, and whether it is met."""
    return table("| what | measured | aim | met |", [target.row() for target in targets])


def machine() -> str:
    """The processor's name."""
    return processor_says("model name") or platform.processor() or platform.machine()


def processor_says(name: str) -> str:
    """What Linux knows of the processor under that name; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return ""


def circumstances(rounds: int, paths: int) -> str:
    """One paragraph: when, where, with what."""
    import mcmm
    from mcmm.engine import core_info

    versions = [f"mcmm {mcmm.__version__}", f"Python {platform.python_version()}"]
    for name in ("numpy", "numba", "llvmlite"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed")
    core_is = core_info()
    built = ", ".join(f"{key} {core_is[key]}" for key in ("isa", "compiler"))
    where = f"{machine()}, {os.cpu_count()} cores, {platform.system()}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {where}; core: {built}; {', '.join(versions)}. "
        f"{paths:,} paths x 1,000 steps a round, or as many path-steps; {rounds} interleaved rounds, one "
        "thread, processor time; medians, and in brackets the least and the greatest of the rounds."
    )
