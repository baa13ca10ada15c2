"""The studies in sweeps/: each is valid, dry-run, swept with a few paths, and answered in the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm import cli
from mcmm.study import Study

ROOT = Path(__file__).parents[1]
SWEEPS = sorted((ROOT / "sweeps").glob("*.toml"))
SWEPT = [path for path in SWEEPS if Study.load(path).sweeps]
each_study = pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
each_sweep = pytest.mark.parametrize("path", SWEPT, ids=lambda path: path.stem)


@each_study
def test_it_is_valid_and_says_what_it_asks(path: Path) -> None:
    study = Study.load(path)
    assert study.question.endswith("?")
    assert path.read_text().startswith("# Asks: ")
    command = "sweep" if study.sweeps else "calibrate"
    assert f"mcmm {command} sweeps/{path.name}" in path.read_text()
    assert Study.from_dict(study.to_dict()) == study


@each_study
def test_the_readme_has_it(path: Path) -> None:
    assert f"| `{path.name}` " in (ROOT / "README.md").read_text()


@each_sweep
def test_it_is_dry_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mcmm.estimate._SECONDS", 0.05)
    assert cli.main(["sweep", str(path), "--dry-run", "--out", str(tmp_path / "run")]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    study = Study.load(path)
    assert lines["points"] == f"{study.count:,}"
    first = study.paths or (study.precision and study.precision.first)
    assert lines["paths"].startswith(f"{first:,} each")
    assert ("where the precision asks for it" in lines["paths"]) == (study.precision is not None)
    assert not (tmp_path / "run").exists()


@each_sweep
def test_a_few_paths_of_it_are_swept(path: Path) -> None:
    tables = Study.load(path).to_dict()
    tables.pop("precision", None)
    few = Study.from_dict(tables | {"paths": 3})
    result = mcmm.sweep(few, jobs=2)
    assert result.study.count == len(result.summary) == Study.load(path).count
    assert np.isfinite(result.summary[few.objective]).all()


@pytest.mark.parametrize("path", [path for path in SWEEPS if path not in SWEPT], ids=lambda path: path.stem)
def test_a_few_paths_of_it_are_calibrated(path: Path) -> None:
    tables = Study.load(path).to_dict()
    few = Study.from_dict(tables | {"calibrate": tables["calibrate"] | {"paths": 2048}})
    assert mcmm.calibrate(few).verdict in ("certified", "undecided")


def designs_of(points: Any) -> set[str]:
    """The designs of a study's points, those within others too."""
    inner = points.get("designs", []) if isinstance(points, dict) else points
    own = {points.get("design", "grid")} if isinstance(points, dict) else {"union"}
    return own.union(*map(designs_of, inner))


def test_there_is_one_for_each_design() -> None:
    studies = [Study.load(path) for path in SWEPT]
    found = set().union(*(designs_of(study.to_dict()["points"]) for study in studies))
    assert found == {"grid", "list", "sobol", "latin_hypercube", "sobol_indices", "union", "product"}
    assert any(study.precision is not None for study in studies)
    rules = [rule for study in studies for rule in study.layout.rules()]
    assert any(len(rule.names) > 1 for rule in rules)


def test_they_are_of_the_size_they_say() -> None:
    studies = {path.stem: Study.load(path) for path in SWEEPS}
    # 20 seconds on two cores at 10 ns a path-step, with room for slower ones.
    assert studies["quickstart"].path_steps() <= 1e9
    limits = studies["risk_limits"]
    assert limits.count >= 100
    assert limits.paths >= 10_000
    assert {"risk.inventory_limit", "risk.exposure_limit", "risk.drawdown_limit"} <= set(limits.axes)
