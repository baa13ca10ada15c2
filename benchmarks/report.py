"""The table of ``docs/performance.md``, from one run: ``python -m benchmarks.report``.

Everything is timed in turn, round after round, in processor time of one thread, so that what else the machine
does falls on all alike. A ratio is the median over the rounds of the two times taken in the same round.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.cases import SCENARIOS, available_peers, core, numpy_draws, peer

__all__ = ["main", "measure", "render", "write"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN = "<!-- written by python -m benchmarks.report: begin -->"
END = "<!-- written by python -m benchmarks.report: end -->"

CORE = "core: "
REDUCED = CORE + "reduced"
DEFAULT = CORE + "default"
DRAWS = "numpy_draws"

PROGRAMS = {
    "numpy_reduced": "tuned NumPy, arrays over paths",
    "numba_scalar": "Numba, scalar loop, xoshiro and ziggurat inline",
    "numba_vector": "Numba, struct of arrays, vectorised",
    REDUCED: "**mcmm**",
}

# What is slower, what is faster, how many times at least, and what that says.
TARGETS = (
    ("numpy_reduced", DEFAULT, 4.0, "default scenario against tuned NumPy on the reduced bot"),
    ("numpy_reduced", "numba_vector", 5.0, "vectorised Numba against tuned NumPy: a peer worth beating"),
    ("numba_vector", REDUCED, 1.5, "reduced bot against vectorised Numba"),
    ("numba_vector", DEFAULT, 1.0, "default scenario against vectorised Numba on the reduced bot"),
    (DRAWS, REDUCED, 2.0, "reduced bot against NumPy's draws of one normal and three uniforms alone"),
)

Times = Mapping[str, list[float]]


def subjects() -> dict[str, tuple[Callable[[int, int], Any], int]]:
    """What can be timed here: its function of paths and seed, and its steps."""
    return {
        **{name: peer(name) for name in available_peers()},
        DRAWS: numpy_draws(),
        **{CORE + name: core(name) for name in SCENARIOS},
    }


def measure(rounds: int, paths: int) -> dict[str, list[float]]:
    """Nanoseconds per path-step of each subject, a number a round, the rounds interleaved."""
    runs = subjects()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for seed in range(rounds + 1):
        for name, (run, steps) in runs.items():
            # As many path-steps of each, whatever the length of its paths.
            count = paths * 1000 // steps
            start = time.thread_time()
            run(count, seed)
            if seed > 0:  # the first round warms up
                times[name].append((time.thread_time() - start) * 1e9 / (count * steps))
    return times


def ratio(times: Times, slower: str, faster: str) -> tuple[float, float, float]:
    """Median, least and greatest over the rounds of how many times as long one takes as the other."""
    ratios = [a / b for a, b in zip(times[slower], times[faster], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
    built = ", ".join(f"{key} {core_is[key]}" for key in ("isa", "compiler", "cython") if key in core_is)
    where = f"{machine()}, {os.cpu_count()} cores, {platform.system()}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {where}; core: {built}; {', '.join(versions)}. "
        f"{paths:,} paths x 1,000 steps a round, or as many path-steps; {rounds} interleaved rounds, one "
        "thread, processor time; medians, and in brackets the least and the greatest of the rounds."
    )


def table(header: str, rows: list[str]) -> str:
    columns = header.count("|") - 1
    return "\n".join([header, "|---" + "|--:" * (columns - 1) + "|", *rows])


def render(times: Times, about: str) -> str:
    """The three tables in Markdown."""

    def speed(name: str) -> str:
        nanoseconds = statistics.median(times[name])
        return f"{nanoseconds:.2f} | {1000.0 / nanoseconds:,.0f}"

    def times_as_long(slower: str, faster: str) -> str:
        middle, least, most = ratio(times, slower, faster)
        return f"{middle:.2f} ({least:.2f}-{most:.2f})"

    programs = [
        f"| {label} | {speed(name)} | {times_as_long(name, REDUCED)} |"
        for name, label in PROGRAMS.items()
        if name in times
    ]
    programs.append(
        f"| NumPy's SFC64 drawing one normal and three uniforms, no bot | {speed(DRAWS)} "
        f"| {times_as_long(DRAWS, REDUCED)} |"
    )
    scenarios = [f"| {name.removeprefix(CORE)} | {speed(name)} |" for name in times if name.startswith(CORE)]
    targets = [
        f"| {label} | {times_as_long(slower, faster)} | {least:g} |"
        for slower, faster, least, label in TARGETS
        if slower in times and faster in times
    ]
    return "\n\n".join(
        [
            about,
            "The reduced bot on one core:",
            table("| program | ns a path-step | million path-steps/s | times as long as mcmm |", programs),
            "The core by scenario:",
            table("| scenario | ns a path-step | million path-steps/s |", scenarios),
            "How many times as fast, and the aim:",
            table("| what | times as fast | aim |", targets),
        ]
    )


def write(page: Path, text: str) -> None:
    """Put the text between the page's two markers; a page without both is an error and stays as it is."""
    old = page.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"error: {page}: the lines {BEGIN!r} and {END!r} are not both there")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds, at least 5 (default 9)")
    parser.add_argument(
        "--paths", type=int, default=16384, help="paths of 1,000 steps a round (default 16384)"
    )
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    options = parser.parse_args(arguments)
    if options.rounds < 5 or options.paths < 1:
        parser.error("at least 5 rounds of at least 1 path")
    text = render(measure(options.rounds, options.paths), circumstances(options.rounds, options.paths))
    print(text)
    if not options.dry:
        write(PAGE, text)
        print(f"\nwritten to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
