"""Every loop over the lanes of a block is vector code: gcc's own report says so, loop by loop."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MEASURED = "12"
LOOP = re.compile(r"\s+for i in range\(LANES\):")


def settings() -> dict[str, Any]:
    """The constants of setup.py, which cannot be imported without building."""
    values = {}
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with suppress(ValueError):
                values[statement.targets[0].id] = ast.literal_eval(statement.value)
    return values


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int]]:
    """The lines of the kernel whose loops gcc vectorised."""
    gcc = shutil.which("gcc")
    if gcc is None or "clang" in subprocess.run([gcc, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("gcc is not installed, and the report is its own")
    version = subprocess.run([gcc, "-dumpversion"], capture_output=True, text=True).stdout.strip()
    if version.split(".")[0] != MEASURED and not os.environ.get("MCMM_FORBID_SKIPS"):
        pytest.skip(f"what is vectorised was measured with gcc {MEASURED}, this is {version}")
    if platform.machine() not in ("x86_64", "amd64"):
        pytest.skip("the AVX-512 build is for x86-64")
    folder = tmp_path_factory.mktemp("vectorised")
    source, said = folder / "_core.c", folder / "said.txt"
    from Cython.Compiler.Main import CompilationOptions, compile_single

    own = settings()
    options = CompilationOptions(
        output_file=str(source), include_path=[str(ROOT)], compiler_directives=own["DIRECTIVES"]
    )
    assert (
        compile_single(str(ROOT / "mcmm/_core.pyx"), options, full_module_name="mcmm._core").num_errors == 0
    )
    subprocess.run(
        [
            *(gcc, "-w", *own["FLAGS"], *own["GCC_FLAGS"], *own["AVX512"]),
            *("-DCYTHON_INLINE=inline __attribute__((always_inline))", f"-I{ROOT / 'mcmm/kernel'}"),
            *(f"-I{sysconfig.get_paths()['include']}", f"-fopt-info-loop-vec-optimized={said}"),
            *("-c", str(source), "-o", str(folder / "_core.o")),
        ],
        check=True,
    )
    marks = {}
    place = ("", 0)
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if mark := re.match(r'\s*/\* "mcmm/kernel/([^"]+)":(\d+)', line):
            place = (mark[1], int(mark[2]))
        marks[number] = place
    found = re.findall(
        r"_core\.c:(\d+):\d+: optimized: *(?:loop vectorized|.*library call)", said.read_text()
    )
    return {marks[int(number)] for number in found}


@pytest.mark.slow
def test_every_lane_loop_is_vectorised(report: set[tuple[str, int]]) -> None:
    scalar, loops = [], 0
    for path in sorted((ROOT / "mcmm/kernel").glob("*_lanes.pxd")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if LOOP.match(line):
                loops += 1
                # Cython marks a loop's C with the lines of its head and of its body.
                if not report & {(path.name, near) for near in range(number, number + 4)}:
                    scalar.append(f"{path.name}:{number}: {lines[number].strip()}")
    assert loops > 50
    assert not scalar, "\n".join(scalar)
