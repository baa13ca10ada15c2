"""The house keeps to its plan, and the check that says so can fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_imports", ROOT / ".ci" / "check_imports.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_imports = load_check()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"mcmm/__init__.py": "_HOME = {}\n", "setup.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tree_keeps_to_the_plan() -> None:
    assert check_imports.check(ROOT) == []


def test_every_module_was_seen() -> None:
    rooms = {
        check_imports.room(check_imports.module_name(path, ROOT)) for path in (ROOT / "mcmm").rglob("*.py")
    }
    assert {"errors", "scenario", "engine", "runner", "reports", "cli"} <= rooms


def test_every_module_is_in_the_plan() -> None:
    plan = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    modules = {path.name for path in (ROOT / "mcmm").glob("*.py*")} - {"__main__.py"}
    assert {name for name in modules if f"  {name} " not in plan} == set()


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"mcmm/errors.py": "from mcmm.scenario import Scenario\n"}, "errors may not import scenario"),
        ({"mcmm/scenario.py": "def load():\n    import mcmm.engine\n"}, "scenario may not import engine"),
        ({"mcmm/scenario.py": "from .cli import main\n"}, "scenario may not import cli"),
        ({"mcmm/reports/page.py": "from ..cli import main\n"}, "reports may not import cli"),
        (
            {"mcmm/runner.py": "from mcmm._core import run\n"},
            "may touch the compiled core",
        ),
        ({"mcmm/study.py": "from mcmm import _isa\n"}, "may touch the compiled core"),
        (
            {"mcmm/runner.py": "from importlib import import_module\nimport_module('mcmm._core')\n"},
            "may touch the compiled core",
        ),
        ({"mcmm/runner.py": "from mcmm import Scenario\n"}, "mcmm.Scenario is no module"),
        ({"mcmm/pricing.py": ""}, "room 'pricing' has no place in the house"),
        ({"mcmm/store.py": "import pandas as pd\n"}, "pandas is slow to import"),
        ({"mcmm/store.py": "from scipy.stats import norm\n"}, "scipy.stats is slow to import"),
        ({"mcmm/store.py": "from scipy import stats\n"}, "scipy.stats is slow to import"),
        (
            {"mcmm/store.py": "from mcmm.study import Study\n", "mcmm/study.py": "import mcmm.store\n"},
            "imports in a circle: store -> study -> store",
        ),
        ({"mcmm/_core.pyx": "from mcmm.errors import InputError\n"}, "may import nothing of mcmm's Python"),
        ({"mcmm/_core.pyx": "    import mcmm.engine\n"}, "may import nothing of mcmm's Python"),
        (
            {"mcmm/kernel/fair.pxd": "from mcmm.other cimport thing\n"},
            "takes its rules from mcmm.kernel alone",
        ),
        (
            {"mcmm/__init__.py": "_HOME = {'sweep': 'mcmm.runner'}\n", "mcmm/sweep.py": ""},
            "would hide the function mcmm.sweep",
        ),
        ({"tests/test_long.py": "\n" * 500}, "500 lines; a file has fewer than 500"),
    ],
)
def test_a_breach_is_reported(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    breaches = check_imports.check(write(tmp_path, files))
    assert any(complaint in breach for breach in breaches), breaches


@pytest.mark.parametrize(
    "files",
    [
        {"mcmm/engine.py": "from mcmm import _isa\nfrom mcmm._core import run\nimport mcmm.errors\n"},
        {"mcmm/store.py": "def save():\n    import pandas\n"},
        {"mcmm/store.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n"},
        {"mcmm/runner.py": "from mcmm import __version__\nfrom mcmm.store import Store\n"},
        {"mcmm/_core.pyx": "from mcmm.kernel.fair cimport move\nimport numpy\n"},
        {"mcmm/reports/page.py": "from mcmm.reports.figures import bars\nfrom .figures import lines\n"},
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, files: dict[str, str]) -> None:
    assert check_imports.check(write(tmp_path, files)) == []
