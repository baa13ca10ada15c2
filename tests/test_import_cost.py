"""What is slow to import is imported when it is used: seen in fresh processes, by name and not by time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SLOW = {"jinja2", "joblib", "pandas", "plotly", "pyarrow", "scipy.stats"}


def modules_after(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_mcmm_imports_nothing_else() -> None:
    loaded = modules_after("import mcmm")
    assert "mcmm" in loaded
    assert not loaded & (SLOW | {"numpy", "pydantic", "rich", "typer", "mcmm.engine"})


@pytest.mark.parametrize(
    "name", ["Scenario", "Simulation", "Study", "SweepResult", "report", "simulate", "sweep"]
)
def test_a_public_name_imports_nothing_slow(name: str) -> None:
    loaded = modules_after(f"import mcmm\nmcmm.{name}")
    assert not loaded & (SLOW | {"rich", "typer"})
    if name in ("Scenario", "Simulation", "simulate"):
        assert not loaded & {"concurrent.futures", "difflib", "logging", "tomli_w"}


def test_simulating_needs_no_frames() -> None:
    loaded = modules_after(
        "import mcmm\nrun = mcmm.simulate(mcmm.Scenario(steps=10), paths=3)\nassert run.values.shape[1] == 3"
    )
    assert not loaded & (SLOW | {"rich", "typer"})


def test_help_imports_no_numbers() -> None:
    loaded = modules_after("from mcmm.cli import main\nassert main(['--help']) == 0")
    assert "typer" in loaded
    assert not loaded & (SLOW | {"numpy", "pydantic"})


@pytest.mark.parametrize("command", ["simulate", "sweep", "report", "info"])
def test_help_of_a_command_imports_no_numbers(command: str) -> None:
    loaded = modules_after(f"from mcmm.cli import main\nassert main([{command!r}, '--help']) == 0")
    assert not loaded & (SLOW | {"numpy", "scipy", "mcmm._isa"})


def test_public_names() -> None:
    import mcmm

    for name in mcmm.__all__:
        assert getattr(mcmm, name) is not None
        assert name in dir(mcmm)
    assert mcmm.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="module 'mcmm' has no attribute 'simulat'"):
        mcmm.simulat  # noqa: B018
