"""How cost and memory grow: with paths, steps and jobs; and what an import costs.

These are taken through ``mcmm.simulate`` and the command, as a user meets them, not through the core alone.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.timing import Subject, Target, interleave, measured, per_path_step, ratio, table

__all__ = ["FLATNESS", "flatness", "imports", "jobs", "memory"]

FLAT_STEPS = 100  # of each path where the number of paths grows
PATHS = (10_000, 100_000, 1_000_000, 10_000_000)
STEPS = (100, 1_000, 10_000, 100_000)
REFERENCE = 1_000  # of STEPS
BLOCK = 64
FLATNESS = 1.1

# Peak memory of this process alone: getrusage's would start at that of the process that started this one.
MEMORY = """
import pathlib, re, sys
import mcmm
run = mcmm.simulate(mcmm.Scenario(steps=100), paths=int(sys.argv[1]), seed=1)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
print(int(peak[1]) * 1024, run.values.nbytes)
"""


@dataclass(frozen=True)
class Taken:
    """Nanoseconds a path-step, in all and in user mode, and what of it another size took meanwhile."""

    whole: float
    user: float
    whole_ratio: float = 1.0
    user_ratio: float = 1.0

    def against(self, before: Taken, after: Taken) -> Taken:
        """The same, with its ratios to what ran before and after it."""
        whole = 2 * self.whole / (before.whole + after.whole)
        user = 2 * self.user / (before.user + after.user)
        return Taken(self.whole, self.user, whole, user)


def simulate_timed(paths: int, steps: int, path_steps: int, seed: int) -> Taken:
    """Nanoseconds a path-step of ``simulate``, in user mode and in the kernel; repeated as need be."""
    import mcmm

    scenario = mcmm.Scenario(steps=steps)
    times = max(1, path_steps // (paths * steps))
    start = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(times):
        mcmm.simulate(scenario, paths=paths, seed=seed)
    end = resource.getrusage(resource.RUSAGE_SELF)
    per_step = 1e9 / (times * paths * steps)
    user, system = end.ru_utime - start.ru_utime, end.ru_stime - start.ru_stime
    return Taken((user + system) * per_step, user * per_step)


def flatness(rounds: int, path_steps: int, most_paths: int) -> tuple[list[Target], str]:
    """Cost per path-step by the number of paths, and by the number of steps.

    Each size is held against one of them, `REFERENCE`, that runs right before and right after it: what a
    processor's clock and other programs do over the seconds of a round is no cost of a size; a short one is
    taken several times a round, for what they do within a tenth of a second is no cost of it either. The
    kernel's part is shown apart: the rows of 10^7 paths are 2.2 GB, and what a virtual machine takes to get
    them from its host is no cost of the core.
    """
    by_paths = [(paths, FLAT_STEPS) for paths in PATHS if paths <= most_paths]
    by_steps = [(max(path_steps // steps // BLOCK, 2) * BLOCK, steps) for steps in STEPS]
    reference = by_steps[STEPS.index(REFERENCE)]
    sizes = [size for size in by_paths + by_steps if size != reference]
    taken: dict[tuple[int, int], list[Taken]] = {size: [] for size in sizes}
    references: list[Taken] = []
    for seed in range(rounds + 1):
        before = simulate_timed(*reference, path_steps, seed)
        for size in sizes:
            for _ in range(repeats(*size, path_steps)):
                size_taken = simulate_timed(*size, path_steps, seed)
                after = simulate_timed(*reference, path_steps, seed)
                if seed > 0:
                    references.append(after)
                    taken[size].append(size_taken.against(before, after))
                before = after
    taken[reference] = references
    rows = [
        f"| {paths:,} | {steps:,} | {shown([one.whole for one in times])} |"
        f" {shown([one.user for one in times])} | {shown([one.whole_ratio for one in times])} |"
        f" {shown([one.user_ratio for one in times])} |"
        for (paths, steps), times in ((size, taken[size]) for size in by_paths + by_steps)
    ]
    targets = []
    for which, what in (
        (by_paths, f"{by_paths[0][0]:,} to {by_paths[-1][0]:,} paths"),
        (by_steps, f"{STEPS[0]:,} to {STEPS[-1]:,} steps"),
    ):
        targets.append(spread([[one.whole_ratio for one in taken[size]] for size in which], what))
        targets.append(
            spread([[one.user_ratio for one in taken[size]] for size in which], f"{what}, user mode alone")
        )
    paths, steps = reference
    header = (
        "| paths | steps | ns a path-step | of them in user mode |"
        f" of {paths:,} x {steps:,}'s | of its, in user mode |"
    )
    return targets, table(header, rows)


def repeats(paths: int, steps: int, path_steps: int) -> int:
    """How often a round takes a size: the less it takes of the clock, the oftener."""
    return 5 if paths * steps <= 10 * path_steps else 1


def shown(values: Sequence[float]) -> str:
    """A median with its range."""
    return measured((statistics.median(values), min(values), max(values)))


def spread(ratios: Sequence[Sequence[float]], what: str) -> Target:
    """Of the sizes' medians the dearest over the cheapest."""
    medians = [statistics.median(values) for values in ratios]
    value = max(medians) / min(medians)
    return Target(f"dearest over cheapest path-step, {what}", value, FLATNESS, False, f"{value:.2f}")


def jobs(rounds: int, paths: int) -> Target:
    """How many times as fast two jobs are as one, by the clock on the wall."""
    import mcmm

    scenario = mcmm.Scenario()

    def wall(count: int) -> Subject:
        return per_path_step(
            lambda paths, seed: mcmm.simulate(scenario, paths=paths, seed=seed, jobs=count),
            paths,
            scenario.steps,
            time.perf_counter,
        )

    values = ratio(interleave({"1": wall(1), "2": wall(2)}, rounds), "1", "2")
    return Target("two jobs against one, wall clock", values[0], 1.9, True, measured(values))


def memory() -> tuple[list[Target], str]:
    """Peak memory beyond the output rows, of a process that simulates and keeps its rows."""
    if not Path("/proc/self/status").exists():
        return [], "Peak memory is not measured here: it takes /proc."
    peaks = {}
    for paths in (1_000, 100_000, 1_000_000):
        done = run_python("-c", MEMORY, str(paths))
        peaks[paths] = [int(number) / 1e6 for number in done.split()]
    rows = [f"| {paths:,} | {rows:,.0f} | {peak - rows:,.0f} |" for paths, (peak, rows) in peaks.items()]
    (small, small_rows), (large, large_rows) = peaks[100_000], peaks[1_000_000]
    growth = (large - small) / (large_rows - small_rows)
    what = "growth of peak memory over growth of the output rows, 10^5 to 10^6 paths"
    header = "| paths of 100 steps | output rows, MB | peak beyond them, MB |"
    return [Target(what, growth, 1.02, False, f"{growth:.2f}")], table(header, rows)


def imports(rounds: int) -> tuple[list[Target], str]:
    """Seconds of wall clock that a fresh process takes, byte code at hand as an installed package has it."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import mcmm": ["-c", "import mcmm"],
        "import mcmm; mcmm.simulate, mcmm.Scenario": ["-c", "import mcmm; mcmm.simulate, mcmm.Scenario"],
        "import mcmm; mcmm.sweep, mcmm.Study": ["-c", "import mcmm; mcmm.sweep, mcmm.Study"],
        "mcmm --help": ["-m", "mcmm", "--help"],
    }

    def started(arguments: list[str], cache: str) -> Subject:
        run_python(*arguments, byte_code=cache)

        def timed(seed: int) -> float:
            start = time.perf_counter()
            run_python(*arguments, byte_code=cache)
            return time.perf_counter() - start

        return timed

    with tempfile.TemporaryDirectory() as cache:
        subjects = {name: started(arguments, cache) for name, arguments in commands.items()}
        times = interleave(subjects, rounds)
    seconds = {
        name: (statistics.median(times[name]), min(times[name]), max(times[name])) for name in commands
    }
    rows = [f"| `{name}` | {measured(values)} |" for name, values in seconds.items()]
    aims = {"import mcmm": 0.3, "import mcmm; mcmm.simulate, mcmm.Scenario": 0.3, "mcmm --help": 0.5}
    targets = [
        Target(f"`{name}`", seconds[name][0], aim, False, measured(seconds[name]), " s")
        for name, aim in aims.items()
    ]
    return targets, table("| a fresh process | seconds |", rows)


def run_python(*arguments: str, byte_code: str | None = None) -> str:
    """What another Python, with the same mcmm, writes; it may keep byte code in a folder."""
    import mcmm

    environment = with_path(str(Path(mcmm.__file__).parent.parent))
    if byte_code is not None:
        environment["PYTHONPYCACHEPREFIX"] = byte_code
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


def with_path(place: str) -> dict[str, str]:
    """This environment, but for where Python looks first."""
    return {**os.environ, "PYTHONPATH": place}
