"""Run directories that a sweep cannot use or must mend, through the command: one line that says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import assert_same, chunk_files, start

import mcmm
from faults.processes import PATIENCE
from mcmm.runner import sweep
from mcmm.store import SweepResult
from mcmm.study import Study

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions"),
]

STUDY = """
name = "nine spreads"
paths = 4000
seed = 5
[scenario]
steps = 200
[points.axes]
"quoting.base_spread" = {{ low = {low}, high = 0.1, count = 9 }}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's file."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(low=0.02))
    return path


@pytest.fixture
def run(tmp_path: Path, study: Path) -> Path:
    """A finished run of it, in three files of three chunks each."""
    done = command("sweep", study, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mcmm", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(Path(mcmm.__file__).parents[1])},
    )


def state(folder: Path) -> dict[str, bytes]:
    """Every file and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """It ended with one line, as for any bad input, and without a traceback."""
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for words in said:
        assert words in line
    assert done.stdout == ""


def test_another_studys_directory_is_left_alone(tmp_path: Path, run: Path) -> None:
    before = state(run)
    other = tmp_path / "other.toml"
    other.write_text(STUDY.format(low=0.03))
    assert_refused(command("sweep", other, "--out", run), str(run), "holds another study (points.axes")
    assert state(run) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 1}, "has schema version 1 (of mcmm "),
        ({"schema": 99, "mcmm": "9.0.0"}, "has schema version 99 (of mcmm 9.0.0)"),
        ({"mcmm": "0.0.9"}, "was begun by mcmm 0.0.9 and this is"),
    ],
)
def test_another_versions_directory_is_left_alone(
    run: Path, study: Path, changes: dict[str, object], said: str
) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    before = state(run)
    assert_refused(command("sweep", study, "--out", run), str(run), said)
    assert state(run) == before


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path, study: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    assert_refused(command("sweep", study, "--out", home), "is not a run directory (it has letter.txt")
    assert state(home) == {"letter.txt": b"dear"}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def change_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("damage", [cut_short, change_one_bit])
def test_a_damaged_chunk_is_told_and_computed_again(
    run: Path, study: Path, damage: Callable[[Path], None], backend: str
) -> None:
    before = state(run)
    reference = sweep(Study.load(study), jobs=1)
    damaged = chunk_files(run)[0]
    damage(damaged)
    done = command("sweep", study, "--out", run, "--backend", backend)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: {damaged}: damaged (is not what was written); it is removed and comp")
    assert_same(SweepResult.load(run), reference)
    assert set(state(run)) >= {name for name in before if name.startswith("chunks")}


READ_ONLY = """
    import os, sys
    from pathlib import Path
    from small_study import small_study
    from mcmm.errors import MCMMError
    from mcmm.runner import sweep

    sweep(small_study(), jobs=2)  # whatever is imported on the way is
    run = Path(sys.argv[1])
    if sys.argv[2] == "begun":
        sweep(small_study(), run, jobs=2)
        next((run / "chunks").glob("*.parquet")).unlink()
    for folder in [run, *(path for path in run.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    if os.geteuid() == 0:  # whom no permission stops
        os.seteuid(65534)
    try:
        sweep(small_study(), run, jobs=2)
    except MCMMError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("life", ["empty", "begun"])
def test_a_read_only_directory_is_told(tmp_path: Path, life: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for parent in (run, *run.parents[:3]):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    process = start(READ_ONLY, run, life)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out.startswith(f"InputError {run}")
    assert "Permission denied" in out
    assert len(out.splitlines()) == 1
    assert (
        [path.name for path in run.iterdir()] == []
        if life == "empty"
        else not list(run.rglob("*.parquet.tmp"))
    )
