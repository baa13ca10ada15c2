"""Every loop over the lanes of a block is vector code: gcc's own reports of the AVX builds say so."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MEASURED = "12"
LOOP = re.compile(r"\s+for i in range\(LANES\):")
MARK = re.compile(r'\s*/\* "(?:[^"]*/)?([^"]+)":(\d+)')  # of whichever file the C below comes from
VECTORISED = re.compile(r"_core\.c:(\d+):\d+: optimized: *(?:loop vectorized|.*library call)")
BUILDS = ("AVX2", "AVX512")  # as setup.py names their flags


def settings() -> dict[str, Any]:
    """The constants of setup.py, which cannot be imported without building."""
    values = {}
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with suppress(ValueError):
                values[statement.targets[0].id] = ast.literal_eval(statement.value)
    return values


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, int]]]:
    """The lines of the core whose loops gcc vectorised, by build."""
    gcc = shutil.which("gcc")
    if gcc is None or "clang" in subprocess.run([gcc, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("gcc is not installed, and the report is its own")
    version = subprocess.run([gcc, "-dumpversion"], capture_output=True, text=True).stdout.strip()
    if version.split(".")[0] != MEASURED and not os.environ.get("MCMM_FORBID_SKIPS"):
        pytest.skip(f"what is vectorised was measured with gcc {MEASURED}, this is {version}")
    if platform.machine() not in ("x86_64", "amd64"):
        pytest.skip("the AVX builds are for x86-64")
    folder = tmp_path_factory.mktemp("vectorised")
    source = folder / "_core.c"
    from Cython.Compiler.Main import CompilationOptions, compile_single

    own = settings()
    options = CompilationOptions(
        output_file=str(source), include_path=[str(ROOT)], compiler_directives=own["DIRECTIVES"]
    )
    assert (
        compile_single(str(ROOT / "mcmm/_core.pyx"), options, full_module_name="mcmm._core").num_errors == 0
    )
    command = [
        *(gcc, "-w", *own["FLAGS"], *own["GCC_FLAGS"], f"-I{ROOT / 'mcmm/kernel'}"),
        *("-DCYTHON_INLINE=inline __attribute__((always_inline))", f"-I{sysconfig.get_paths()['include']}"),
        *("-S", str(source), "-o", os.devnull),
    ]
    running = [
        subprocess.Popen([*command, *own[build], f"-fopt-info-loop-vec-optimized={folder / build}"])
        for build in BUILDS
    ]
    assert [each.wait() for each in running] == [0, 0]
    marks = {}
    place = ("", 0)
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if mark := MARK.match(line):
            place = (mark[1], int(mark[2]))
        marks[number] = place
    return {
        build: {marks[int(number)] for number in VECTORISED.findall((folder / build).read_text())}
        for build in BUILDS
    }


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_every_lane_loop_is_vectorised(build: str, reports: dict[str, set[tuple[str, int]]]) -> None:
    scalar, loops = [], 0
    for path in (ROOT / "mcmm/_core.pyx", *sorted((ROOT / "mcmm/kernel").glob("*.p[xy]*"))):
        lines = path.read_text().splitlines()
        heads = [number for number, line in enumerate(lines, 1) if LOOP.match(line)]
        loops += len(heads)
        for number, following in pairwise([*heads, len(lines) + 1]):
            # Cython marks a loop's C with the lines of its head and of its body.
            near = range(number, min(number + 4, following))
            if not reports[build] & {(path.name, line) for line in near}:
                scalar.append(f"{path.name}:{number}: {lines[number].strip()}")
    assert loops > 120
    assert not scalar, "\n".join(scalar)
