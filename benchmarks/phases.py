"""Where a step's time goes: ``python -m benchmarks.phases [SCENARIO ...]``.

A copy of the core is built with the same flags by the same ``setup.py``, a clock between the loops of its
steps (``phase_clock.h``). The clock is put in by rules, not by a list: a phase is a function of
``kernel/*.pxi`` that a step calls, a loop is a call of a function from ``kernel/*_lanes.pxd``. So a kernel
that is cut up otherwise is shown otherwise, without a change here.

For each loop the table has its nanoseconds, its instructions by kind, counted as they are executed, and how
few cycles the processor could take for them: the greatest of what issue, arithmetic, loads, stores and the
divider allow. Where the cycles taken are near that, only fewer instructions help; where they are far above
it, instructions wait for each other or for memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.instructions import KINDS, disassemble, fewest_cycles, kinds, limits_of
from benchmarks.timing import processor_says, table

__all__ = ["Loop", "instrument", "phase_tables"]

ROOT = Path(__file__).resolve().parent.parent
CLONE = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "mcmm")
REST = "between"
LOGGED = 32  # steps whose instructions are counted: some ten microseconds each in a virtual machine
STEPPERS = ("run_step", "run_block")  # these must be there
CALLERS = (*STEPPERS, "offer", "settle", "run_portfolio", "step_together", "check_together")

DECLARATIONS = """from libc.stdint cimport int64_t, uint16_t, uint32_t

cdef extern from "phase_clock.h":
    enum: CLOCK_LOOPS
    enum: CLOCK_KEYS
    uint64_t clock_ticks()
    void clock_lap(int loop) noexcept nogil
    void clock_enter(int phase) noexcept nogil
    void clock_step() noexcept nogil
    void clock_start(int64_t first, int64_t last)
    double clock_overhead()
    double clock_cycle()
    double clock_divide()
    double clock_root()
    uint64_t clock_cost[]
    uint64_t clock_laps[]
    uint32_t clock_log[]
    uint32_t clock_lap_ends[]
    uint16_t clock_lap_keys[]
    uint32_t clock_marks
"""
FUNCTIONS = '''

def phase_start(int64_t first, int64_t last):
    """Forget what was timed; log the instructions of the steps first .. last - 1."""
    clock_start(first, last)


def phase_processor():
    """Ticks of a lap, a cycle, a vector's division and its square root."""
    return clock_overhead(), clock_cycle(), clock_divide(), clock_root()


def phase_ticks():
    """The counter."""
    return clock_ticks()


def phase_times():
    """(phase, loop, ticks, laps) of those that ran."""
    return [
        (key // CLOCK_LOOPS, key % CLOCK_LOOPS, clock_cost[key], clock_laps[key])
        for key in range(CLOCK_KEYS) if clock_laps[key]
    ]


def phase_log():
    """(phase, loop, offset in this library) of each instruction that was logged."""
    cdef uint32_t mark, i = 0
    told = []
    for mark in range(clock_marks):
        key = clock_lap_keys[mark]
        while i < clock_lap_ends[mark]:
            told.append((key // CLOCK_LOOPS, key % CLOCK_LOOPS, clock_log[i]))
            i += 1
    return told
'''

HEAD = re.compile(r"cdef (?:inline )?[\w*]+ (\w+)\(")


def cimported(text: str) -> set[str]:
    """The names that a Cython source takes from the lane loops' files."""
    found = re.findall(r"from mcmm\.kernel\.\w+_lanes cimport (?:\(([^)]*)\)|([^\n(]*))", text)
    return {name for group in found for name in re.findall(r"\w+", "".join(group))}


def functions(text: str) -> dict[str, str]:
    """The cdef functions of a Cython source, and what each one's body says."""
    parts = re.split(r"(?m)^(?=cdef |def |include |from |class )", text)
    return {head[1]: part for part in parts if (head := HEAD.match(part))}


def phase_names(sources: dict[str, str]) -> list[str]:
    """The functions of .pxi files that a step calls, rather than one of them."""
    told = {
        name: body
        for path, text in sources.items()
        if path.endswith(".pxi")
        for name, body in functions(text).items()
    }
    steppers = {
        name: body for text in sources.values() for name, body in functions(text).items() if name in CALLERS
    }
    missing = [name for name in STEPPERS if name not in steppers]
    if missing:
        raise SystemExit(
            f"error: no function {', '.join(missing)} in the core: benchmarks/phases.py knows no other"
        )

    def called(name: str) -> bool:
        return any(re.search(rf"\b{name}\(", body.partition("\n")[2]) for body in steppers.values())

    return [name for name in told if name not in CALLERS and called(name)]


def label(call: str) -> str:
    """What a call is shown as: its name and, of a loop that serves several arrays, which."""
    name, _, arguments = call.partition("(")
    first = re.match(r"\s*(?:b\.|(?=\w+\.))([\w.]+)", arguments)
    return f"{name} {first[1]}" if first else name


def instrument(sources: dict[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Put the clock into the core's sources.

    Takes the text of _core.pyx and the .pxi files by their paths; returns them with the clock in, and the
    names of the phases and of the loops by the clock's numbers, of which 0 is what lies between.
    """
    phases, loops = [REST, *phase_names(sources)], [REST]
    lanes = set().union(*(cimported(text) for text in sources.values()))
    told = {
        path: "\n".join(_instrumented(text.split("\n"), path.endswith(".pxi"), lanes, phases, loops))
        for path, text in sources.items()
    }
    core = next(path for path in sources if path.endswith(".pyx"))
    head, include, rest = told[core].partition("\ninclude ")
    told[core] = f"{head}\n{DECLARATIONS}{include}{rest}{FUNCTIONS}"
    return told, phases, loops


def _instrumented(
    lines: list[str], everywhere: bool, lanes: set[str], phases: list[str], loops: list[str]
) -> Iterator[str]:
    function, begun, depth, lap = "", True, 0, ""
    for line in lines:
        if head := HEAD.match(line):
            function, begun, depth = head[1], False, 0
        elif line and not line[0].isspace() and not line.startswith(")"):
            function = ""
        statement = re.match(r"(    +)(?!cdef |\"\"\"|\))\S", line)
        if function and not begun and depth == 0 and statement:
            begun = True
            if function in phases:
                yield f"{statement[1]}clock_enter({phases.index(function)})"
            if function == "run_step":
                yield f"{statement[1]}clock_step()"
        call = re.match(r"( +)(?:\w+ = )?((\w+)\(.*)", line)
        looked_at = function and begun and depth == 0 and (everywhere or function in CALLERS)
        if looked_at and call and call[3] in lanes:
            if label(call[2]) not in loops:
                loops.append(label(call[2]))
            lap = f"{call[1]}clock_lap({loops.index(label(call[2]))})"
        depth += line.count("(") - line.count(")")
        yield line
        if lap and depth == 0:
            yield lap
            lap = ""


def build(folder: Path, isas: Sequence[str]) -> tuple[list[str], list[str]]:
    """Copy the clone's package into a folder and build it with the clock in; the phases' and loops' names."""
    for name in CLONE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(Path(__file__).with_name("phase_clock.h"), folder / "mcmm/kernel")
    paths = [folder / "mcmm/_core.pyx", *sorted((folder / "mcmm/kernel").glob("*.pxi"))]
    told, phases, loops = instrument({str(path): path.read_text("utf-8") for path in paths})
    for path, text in told.items():
        Path(path).write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "MCMM_BUILDS": ",".join({"baseline", *isas})},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"error: the core does not build with the clock in:\n{done.stderr}")
    return phases, loops


@dataclass
class Loop:
    """One loop over the lanes: per path-step, what it takes and what it executes."""

    phase: str
    name: str
    nanoseconds: float = 0.0
    cycles: float = 0.0
    executed: Counter[str] = field(default_factory=Counter)
    fewest: float = 0.0
    limit: str = ""


def run(scenario: dict[str, Any], paths: int, rounds: int, logged: int) -> dict[str, Any]:
    """In the process of the instrumented core: times, and the instructions of some steps in the middle."""
    from mcmm import Scenario
    from mcmm._isa import core
    from mcmm.engine import run_rows

    told = Scenario.from_dict(scenario)
    clocked: Any = core
    ticks: dict[tuple[int, int], list[float]] = {}
    lap, cycle, divide, root = clocked.phase_processor()
    started, begin = time.perf_counter(), clocked.phase_ticks()
    for seed in range(rounds + 1):
        clocked.phase_start(0, 0)
        run_rows(told, seed, 0, paths)
        for phase, loop, cost, laps in clocked.phase_times() if seed > 0 else ():
            ticks.setdefault((phase, loop), []).append(max(cost - laps * lap, 0.0))
    rate = (clocked.phase_ticks() - begin) / (time.perf_counter() - started)
    # In whole rounds of draws, and not to the end: the next step's head ends the log.
    first = told.steps // 2 & ~3
    last = first + min(logged, (told.steps - 1 - first) & ~3)
    if last == first:
        raise SystemExit(f"error: {told.steps} steps are too few to log four in their middle")
    clocked.phase_start(first, last)
    run_rows(told, 1, 0, 64)
    log = Counter(clocked.phase_log())
    path_steps = -(-paths // 64) * 64 * told.steps * told.market_count
    return {
        # A median over the rounds for each loop: an interruption falls on one loop of one round.
        "times": [(*key, statistics.median(values) / path_steps) for key, values in ticks.items()],
        "processor": {
            "gigahertz": rate / cycle / 1e9,
            "cycle": cycle,
            "divide": divide / cycle,
            "root": root / cycle,
        },
        "log": [(*key, count / ((last - first) * 64)) for key, count in log.items()],
        "library": clocked.__file__,
    }


def loops_of(result: dict[str, Any], phases: list[str], loops: list[str]) -> list[Loop]:
    """The loops of a run in the order of a step, their instructions counted and bounded."""
    processor = result["processor"]
    found: dict[tuple[int, int], Loop] = {}
    for phase, loop, ticks in result["times"]:
        cycles = ticks / processor["cycle"]
        one = Loop(phases[phase], loops[loop], cycles / processor["gigahertz"], cycles)
        found[phase, loop] = one
    code = disassemble(Path(result["library"]))
    for phase, loop, offset, count in result["log"]:
        instruction = code.get(offset)
        if instruction is None or instruction.function.startswith("clock_"):
            continue
        one = found.setdefault((phase, loop), Loop(phases[phase], loops[loop]))
        for kind in kinds(instruction):
            one.executed[kind] += count
    limits = limits_of(processor_says("vendor_id"))
    for one in found.values():
        one.fewest, one.limit = fewest_cycles(one.executed, processor["divide"], processor["root"], limits)
    order = {name: index for index, name in enumerate(loops)}
    return sorted(found.values(), key=lambda one: (phases.index(one.phase), order[one.name] or len(order)))


def shown(name: str, found: list[Loop], whole: float) -> str:
    """The table of a scenario: a row for each loop, and sums by phase."""
    header = "| phase: loop | ns | cycles | at least | by | " + " | ".join(KINDS) + " |"
    rows = []
    for phase in dict.fromkeys(one.phase for one in found):
        of_phase = [one for one in found if one.phase == phase]
        rows.append(_row(f"**{phase}**", of_phase))
        rows += [_row(f"{one.name}", [one]) for one in of_phase if one.name != REST]
    rows.append(_row("**all**", found))
    timed = sum(one.nanoseconds for one in found)
    text = (
        f"Scenario `{name}`, a path-step: {whole:.2f} ns without the clock; the loops timed one by one, none "
        f"beginning before the last has ended, {timed:.2f} ns."
    )
    return f"{text}\n\n{table(header, rows)}"


def _row(title: str, loops: list[Loop]) -> str:
    executed = sum((one.executed for one in loops), Counter[str]())
    counts = " | ".join(f"{executed[kind]:.2f}" for kind in KINDS)
    nanoseconds, cycles = sum(one.nanoseconds for one in loops), sum(one.cycles for one in loops)
    limit = loops[0].limit if len(loops) == 1 else ""
    fewest = sum(one.fewest for one in loops)
    return f"| {title} | {nanoseconds:.3f} | {cycles:.2f} | {fewest:.2f} | {limit} | {counts} |"


def phase_tables(names: Sequence[str], paths: int = 512, rounds: int = 31) -> list[str]:
    """Sections for docs/performance.md: where the time of these scenarios' steps goes, on the best build."""
    from benchmarks.cases import SCENARIOS, core
    from benchmarks.timing import interleave, per_path_step
    from mcmm._isa import core as used

    isa = used.isa()
    sections = ["### The phases of a step"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phases, loops = build(folder, [isa])
        for scenario in names:
            task = json.dumps([SCENARIOS[scenario], paths, rounds, LOGGED])
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.phases", "--worker"],
                input=task,
                capture_output=True,
                text=True,
                cwd=folder,
                env={**os.environ, "MCMM_ISA": isa, "PYTHONPATH": os.pathsep.join([name, str(ROOT)])},
            )
            if done.returncode != 0:
                raise SystemExit(f"error: the core with the clock in failed:\n{done.stderr}")
            result = json.loads(done.stdout)
            found = loops_of(result, phases, loops)
            run, steps = core(scenario)
            times = interleave({"whole": per_path_step(run, paths, steps)}, rounds)["whole"]
            if len(sections) == 1:
                sections.append(_explained(result["processor"], isa))
            sections.append(shown(scenario, found, statistics.median(times)))
    return sections


def _explained(processor: dict[str, float], isa: str) -> str:
    limits = ", ".join(f"{limit:g} {kind}" for kind, limit in limits_of(processor_says("vendor_id")).items())
    speeds = (
        f"{limits} a cycle, {processor['divide']:.1f} cycles for a vector's division and "
        f"{processor['root']:.1f} for its square root (measured)"
    )
    return (
        f"Per path-step, the {isa} build at {processor['gigahertz']:.2f} GHz; medians. `at least` is the "
        "least number of cycles in which the processor could execute the loop's instructions: "
        f"{speeds}; `by` is what it is that takes as long. Instructions are counted as they are executed; a "
        "vector is as wide as the build's. `python -m benchmarks.phases` takes any scenario of "
        "`benchmarks/cases.py`."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.phases", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("scenarios", nargs="*", default=["default", "reduced"], help="of benchmarks.cases")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(run(*json.load(sys.stdin))))
    else:
        print("\n\n".join(phase_tables(options.scenarios)))


if __name__ == "__main__":
    main()
