"""What the benchmarks' report says of what was timed, and the clock between the loops of a step."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import panel
import pytest
from test_peers import load_benchmarks

import mcmm
from mcmm.engine import run_rows

load_benchmarks()

from benchmarks import instructions, phases, report, timing  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {str(path): path.read_text("utf-8") for path in (ROOT / "mcmm/kernel").glob("*.pxi")}
SOURCES = {str(ROOT / "mcmm/_core.pyx"): (ROOT / "mcmm/_core.pyx").read_text("utf-8"), **KERNEL}
LISTING = """
0000000000001000 <quote>:
    1000:\tvmovupd 0x40(%rdi),%zmm0
    1004:\tvdivpd 0x80(%rdi,%rax,8),%zmm0,%zmm1
    1008:\tvmulpd %zmm0,%zmm1,%zmm2{%k1}{z}
    100c:\tvsqrtpd %zmm2,%zmm2
    1010:\tvmovupd %zmm2,0x40(%rdi)
    1014:\tlea    0x40(%rdi),%rdi
    1018:\tcmp    %rax,0x8(%rdi)
    101c:\tjne    1000 <quote>
0000000000001020 <trade>:
    1020:\tret
"""


def test_a_ratio_is_taken_round_by_round_and_held_to_its_aim() -> None:
    names = [name for target in report.TARGETS for name in target[:2]]
    times = {name: [2.0, 3.0, 4.0] for name in (*report.PROGRAMS, *names)}
    times["numpy_reduced"] = [20.0, 45.0, 160.0]
    times["baseline: default"] = [8.0, 9.0, 24.0]
    text = report.render(
        times, "On no machine.", [timing.Target("two jobs", 1.8, 1.9, True, "1.80")], ["Last."]
    )
    assert text.startswith("On no machine.")
    assert text.endswith("Last.")
    assert "| tuned NumPy, arrays over paths | 45.00 | 22 | 15.00 (10.00-40.00) |" in text
    assert "| two jobs | 1.80 | at least 1.9 | **no** |" in text
    assert "| reduced bot against vectorised Numba | 1.00 (1.00-1.00) | at least 1.5 | **no** |" in text
    built = "| time of the baseline build against AVX-512, default | 4.00 (3.00-6.00) | at most 5 | yes |"
    assert built in text
    assert text.count("| yes |") + text.count("| **no** |") == len(report.TARGETS) + 1
    del times["numba_vector"]
    assert "vectorised Numba against" not in report.render(times, "", [], [])


def test_the_report_is_written_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.write(page, "new")
    assert page.read_text() == f"above\n{report.BEGIN}\n\nnew\n\n{report.END}\nbelow\n"
    page.write_text("no markers\n")
    with pytest.raises(SystemExit, match="not both there"):
        report.write(page, "new")
    assert page.read_text() == "no markers\n"


def test_the_page_has_the_markers() -> None:
    text = report.PAGE.read_text("utf-8")
    assert text.index(report.BEGIN) < text.index(report.END)


def test_a_build_is_timed_in_its_own_process() -> None:
    from benchmarks.builds import Worker

    with Worker("baseline") as worker:
        assert 0.1 < worker.subject("default", 64)(1) < 1e5
    assert worker.process.returncode == 0


def test_rounds_are_interleaved_and_the_first_is_left_out() -> None:
    calls: list[tuple[str, int]] = []

    def subject(name: str) -> timing.Subject:
        def timed(seed: int) -> float:
            calls.append((name, seed))
            return float(seed)

        return timed

    assert timing.interleave({"a": subject("a"), "b": subject("b")}, 2) == {"a": [1.0, 2.0], "b": [1.0, 2.0]}
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_every_loop_of_a_step_gets_a_lap() -> None:
    told, names, loops = phases.instrument(SOURCES)
    assert {"draw_steps", "quote", "trade", "move", "mark_and_check"} <= set(names)
    assert len(loops) > 40
    imported = set().union(*(phases.cimported(text) for text in SOURCES.values()))
    for path, text in KERNEL.items():
        # The step-by-step bot's own calls are of one path, and what Python calls is no step: not timed.
        timed = re.sub(r"(?ms)^def .*?(?=^\S|\Z)", "", text.partition("cdef class ")[0])
        calls = re.findall(r"(?m)^ +(?:\w+ = )?(\w+)\(", timed)
        assert told[path].count("clock_lap(") == sum(name in imported for name in calls)
        assert [line for line in told[path].split("\n") if "clock_" not in line] == text.split("\n")
    assert sum(text.count("    clock_enter(") for text in told.values()) == len(names) - 1
    core = told[str(ROOT / "mcmm/_core.pyx")]
    assert len(re.findall(r"(?m)^    clock_step\(\)$", "".join(told.values()))) == 1
    assert core.index("void clock_lap") < core.index("include ")


def test_a_call_on_several_lines_gets_its_lap_after_the_last() -> None:
    core = "cdef void run_step(Block* b) noexcept nogil:\n    quote(b)\n"
    core += "cdef void run_block():\n    run_step(b)\n"
    step = (
        "from mcmm.kernel.quote_lanes cimport (\n    place, rest,\n)\n\n\n"
        "cdef bint quote(\n    Block* b\n) noexcept nogil:\n    cdef bint x\n"
        "    if x:\n        x = place(\n            b.mid, (1),\n        )\n    return x\n"
    )
    told, names, loops = phases.instrument({"a.pyx": f"{core}\ninclude 'a.pxi'\n", "a.pxi": step})
    assert (names, loops) == (["between", "quote"], ["between", "place"])
    call = "    if x:\n        x = place(\n            b.mid, (1),\n        )\n"
    body = f"    cdef bint x\n    clock_enter(1)\n{call}        clock_lap(1)\n    return x\n"
    assert told["a.pxi"].endswith(body)


def test_instructions_are_told_apart() -> None:
    code = instructions.parse(LISTING)
    assert {one.function for one in code.values()} == {"quote", "trade"}
    told = [instructions.kinds(one)[1:] for one in code.values()]
    arithmetic = ["arithmetic"]
    assert told == [
        ["loads"],
        ["loads", "arithmetic", "divisions"],
        arithmetic,
        ["arithmetic", "roots"],
        ["stores"],
        [],
        ["loads"],
        [],
        [],
    ]


def test_the_scarcest_sets_the_fewest_cycles() -> None:
    counts = {"instructions": 16.0, "arithmetic": 4.0, "loads": 2.0, "stores": 1.0}
    wide, narrow = map(instructions.limits_of, ("AuthenticAMD", "GenuineIntel"))
    assert instructions.fewest_cycles(counts | {"arithmetic": 7.0}, 10.0, 20.0, narrow) == (3.5, "arithmetic")
    assert instructions.fewest_cycles(counts, 10.0, 20.0, wide) == (2.0, "instructions")
    assert instructions.fewest_cycles(counts | {"stores": 3.0}, 10.0, 20.0, wide) == (3.0, "stores")
    assert instructions.fewest_cycles(counts | {"divisions": 0.5}, 10.0, 20.0, wide) == (5.0, "divider")
    assert instructions.fewest_cycles({}, 10.0, 20.0, wide) == (0.0, "")


@pytest.mark.slow
def test_the_clock_changes_no_bit_and_sees_every_instruction(tmp_path: Path) -> None:
    if platform.machine() != "x86_64" or not shutil.which("objdump"):
        pytest.skip("the clock is x86-64's, and objdump reads the instructions")
    names, loops = phases.build(tmp_path, ["baseline"])
    scenario = panel.SCENARIOS["pauses"]
    environment = {
        **os.environ,
        "MCMM_ISA": "baseline",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), str(Path(__file__).parent)]),
    }
    worker = subprocess.run(
        [sys.executable, "-m", "benchmarks.phases", "--worker"],
        input=json.dumps([scenario, 64, 2, 8]),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    result = json.loads(worker.stdout)
    assert Path(result["library"]).is_relative_to(tmp_path)
    found = phases.loops_of(result, names, loops)
    told = {(one.phase, one.name): one for one in found}
    for name in ("quote", "trade", "move", "mark_and_check"):
        of_phase = [one for one in found if one.phase == name and one.name != phases.REST]
        assert of_phase
        assert sum(one.nanoseconds for one in of_phase) > 0.0
        # 64 lanes of two doubles: every loop takes some instructions for each, and none takes thousands.
        assert 1.0 < sum(one.executed["instructions"] for one in of_phase) < 2000.0
    # The fair value's exponential divides once a path-step, a vector of four in single precision at a time.
    assert told["move", "walk_at_once"].executed["in single"] == pytest.approx(0.25)
    assert "| **all** |" in phases.shown("pauses", found, 1.0)

    code = (
        "import panel, sys; from mcmm import Scenario; from mcmm.engine import run_rows; "
        "sys.stdout.buffer.write(run_rows(Scenario.from_dict(panel.SCENARIOS['pauses']), 5, 0, 70).tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path, env=environment
    )
    rows = run_rows(mcmm.Scenario.from_dict(scenario), 5, 0, 70)
    assert np.array_equal(np.frombuffer(done.stdout).reshape(rows.shape), rows, equal_nan=True)
