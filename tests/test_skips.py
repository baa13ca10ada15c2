"""In CI a skip is a failure; but for recorded market data that does not lie beside the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mcmm

TESTS = {
    "test_passes.py": "def test_a(): pass\n",
    "test_skips.py": "import pytest\ndef test_a(): pytest.skip('no Chromium')\n",
    "test_whole_module.py": "import pytest\npytest.importorskip('no_such_name')\ndef test_a(): pass\n",
    "test_needs_data.py": "import pytest\ndef test_a(): pytest.skip('no recorded market data')\n",
    "test_fails_as_known.py": "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False\n",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    tests = tmp_path / "clone" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("conftest.py"), tests)
    for name, text in TESTS.items():
        (tests / name).write_text(text)
    return tests.parent


def run_pytest(clone: Path, forbid: str) -> tuple[int, str]:
    environment = {
        **os.environ,
        "MCMM_FORBID_SKIPS": forbid,
        "PYTHONPATH": str(Path(mcmm.__file__).parent.parent),
        "PYTEST_ADDOPTS": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


def test_a_bare_machine_may_skip(clone: Path) -> None:
    status, out = run_pytest(clone, "")
    assert status == 0
    assert "1 passed, 3 skipped, 1 xfailed" in out


def test_ci_may_not(clone: Path) -> None:
    status, out = run_pytest(clone, "1")
    assert status == pytest.ExitCode.INTERRUPTED
    assert "skipped where MCMM_FORBID_SKIPS forbids it" in out
    assert "no_such_name" in out
    (clone / "tests" / "test_whole_module.py").unlink()
    status, out = run_pytest(clone, "1")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "skipped where MCMM_FORBID_SKIPS forbids it: no Chromium" in out
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in out


def test_data_that_is_there_is_no_reason(clone: Path) -> None:
    (clone.parent / "shared" / "data").mkdir(parents=True)
    (clone / "tests" / "test_whole_module.py").unlink()
    status, out = run_pytest(clone, "1")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "2 failed, 1 passed, 1 xfailed" in out
