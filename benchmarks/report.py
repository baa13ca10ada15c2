"""The tables of ``docs/performance.md``, from one run: ``python -m benchmarks.report``.

Everything is timed in turn, round after round, in processor time of one thread, so that what else the machine
does falls on all alike; two jobs against one and the start of a process are timed by the clock on the wall,
and want a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import scaling
from benchmarks.builds import Worker
from benchmarks.cases import (
    SCENARIOS,
    available_peers,
    core,
    numba_policy,
    numpy_draws,
    numpy_textbook,
    peer,
)
from benchmarks.phases import phase_tables
from benchmarks.timing import (
    Subject,
    Target,
    Times,
    circumstances,
    interleave,
    measured,
    per_path_step,
    ratio,
    table,
    target_table,
)

__all__ = ["main", "measure", "render", "write"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN = "<!-- written by python -m benchmarks.report: begin -->"
END = "<!-- written by python -m benchmarks.report: end -->"

CORE = "core: "
REDUCED = CORE + "reduced"
DEFAULT = CORE + "default"
TEXTBOOK = CORE + "avellaneda_stoikov 2008"
DRAWS = "numpy_draws"
NUMPY_TEXTBOOK = "numpy_avellaneda_stoikov"
OWN = CORE + "default, its policy in Numba"
# The builds held against each other, and on what.
BUILDS = ("avx512", "avx2", "baseline")
BUILT = ("default", "reduced")

PROGRAMS = {
    "numpy_reduced": "tuned NumPy, arrays over paths",
    "numba_scalar": "Numba, scalar loop, xoshiro and ziggurat inline",
    "numba_vector": "Numba, struct of arrays, vectorised",
    REDUCED: "**mcmm**",
    DRAWS: "NumPy's SFC64 drawing one normal and three uniforms, no bot",
}

# What is slower, what is faster, how many times as long the slower one takes, whether at least or at most,
# and what that says.
TARGETS = (
    ("numba_vector", REDUCED, 1.5, True, "reduced bot against vectorised Numba"),
    ("numba_vector", DEFAULT, 1.0, True, "default scenario against vectorised Numba on the reduced bot"),
    (
        "numpy_reduced",
        "numba_vector",
        5.0,
        True,
        "vectorised Numba against tuned NumPy: a peer worth beating",
    ),
    ("numpy_reduced", DEFAULT, 4.0, True, "default scenario against tuned NumPy on the reduced bot"),
    (DRAWS, REDUCED, 2.0, True, "reduced bot against NumPy's draws of one normal and three uniforms alone"),
    (DRAWS, DEFAULT, 2.0, True, "default scenario against the same draws"),
    (NUMPY_TEXTBOOK, TEXTBOOK, 3.0, True, "Avellaneda-Stoikov 2008 against tuned NumPy of the same"),
    (OWN, DEFAULT, 1.5, False, "time of the adaptive policy written in Numba against the built-in one"),
    *(
        (
            f"{build}: {name}",
            f"avx512: {name}",
            most,
            False,
            f"time of the {build} build against AVX-512, {name}",
        )
        for build, most in (("avx2", 2.0), ("baseline", 5.0))
        for name in BUILT
    ),
)


def subjects(paths: int, workers: dict[str, Worker]) -> dict[str, Subject]:
    """What the interleaved rounds time, as many path-steps of each whatever the length of its paths."""
    runs: dict[str, tuple[Callable[[int, int], Any], int]] = {
        **{name: peer(name) for name in available_peers()},
        DRAWS: numpy_draws(),
        NUMPY_TEXTBOOK: numpy_textbook(),
        **{CORE + name: core(name) for name in SCENARIOS},
        **({OWN: numba_policy()} if find_spec("numba") else {}),
    }
    return {
        **{name: per_path_step(run, paths * 1000 // steps, steps) for name, (run, steps) in runs.items()},
        **{
            f"{build}: {name}": worker.subject(name, paths)
            for build, worker in workers.items()
            for name in BUILT
        },
    }


def measure(rounds: int, paths: int) -> dict[str, list[float]]:
    """Nanoseconds per path-step of each subject, a number a round, the rounds interleaved."""
    from mcmm._isa import builds

    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name)) for name in BUILDS if name in builds()}
        return interleave(subjects(paths, workers), rounds)


def targets(times: Times) -> list[Target]:
    """The ratios of the interleaved rounds, those whose both sides could be timed here."""
    found = []
    for slower, faster, aim, at_least, what in TARGETS:
        if slower in times and faster in times:
            values = ratio(times, slower, faster)
            found.append(Target(what, values[0], aim, at_least, measured(values)))
    return found


def render(times: Times, about: str, more: list[Target], sections: list[str]) -> str:
    """The page's tables in Markdown: every aim first, then what is behind it."""

    def speed(name: str) -> str:
        nanoseconds = statistics.median(times[name])
        return f"{nanoseconds:.2f} | {1000.0 / nanoseconds:,.0f}"

    def against(slower: str, faster: str) -> str:
        return measured(ratio(times, slower, faster))

    programs = [
        f"| {label} | {speed(name)} | {against(name, REDUCED)} |"
        for name, label in PROGRAMS.items()
        if name in times
    ]
    scenarios = [f"| {name.removeprefix(CORE)} | {speed(name)} |" for name in times if name.startswith(CORE)]
    if NUMPY_TEXTBOOK in times:
        scenarios.append(f"| avellaneda_stoikov 2008 in tuned NumPy | {speed(NUMPY_TEXTBOOK)} |")
    builds = []
    for build in BUILDS:
        for name in BUILT:
            one, best = f"{build}: {name}", f"avx512: {name}"
            if one in times and best in times:
                builds.append(f"| {build} | {name} | {speed(one)} | {against(one, best)} |")
    return "\n\n".join(
        [
            about,
            "### Aims",
            target_table([*targets(times), *more]),
            "### The reduced bot on one core",
            table("| program | ns a path-step | million path-steps/s | times as long as mcmm |", programs),
            "### The core by scenario",
            table("| scenario | ns a path-step | million path-steps/s |", scenarios),
            "### The core by build",
            table("| build | scenario | ns a path-step | million path-steps/s | times AVX-512's |", builds),
            *sections,
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


def grown(rounds: int, paths: int, most_paths: int) -> tuple[list[Target], list[str]]:
    """How cost and memory grow, and what a start costs: aims and sections."""
    flat, flat_table = scaling.flatness(rounds, paths * 1000, most_paths)
    peak, peak_table = scaling.memory()
    start, start_table = scaling.imports(rounds)
    sections = ["### Cost by size (`simulate`, default scenario)", flat_table]
    sections += ["### Memory", peak_table, "### Start", start_table]
    return [*flat, scaling.jobs(rounds, 4 * paths), *peak, *start], sections


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds, at least 5 (default 9)")
    parser.add_argument(
        "--paths", type=int, default=16384, help="paths of 1,000 steps a round (default 16384)"
    )
    parser.add_argument(
        "--most-paths",
        type=int,
        default=10**7,
        help="of a run in `Cost by size`: 10^7 take 2.3 GB (default 10^7)",
    )
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    options = parser.parse_args(arguments)
    if options.rounds < 5 or options.paths < 1 or options.most_paths < scaling.PATHS[0]:
        parser.error(f"at least 5 rounds of at least 1 path, and --most-paths at least {scaling.PATHS[0]}")
    times = measure(options.rounds, options.paths)
    more, sections = grown(5, options.paths, options.most_paths)
    sections += phase_tables(("default", "reduced"))
    text = render(times, circumstances(options.rounds, options.paths), more, sections)
    print(text)
    if not options.dry:
        write(PAGE, text)
        print(f"\nwritten to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
