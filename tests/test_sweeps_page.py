"""docs/sweeps.md: its studies are studies, its Python runs, and what it names is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mcmm
from mcmm.study import Study

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sweeps.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("toml"), ids=lambda text: text.split()[1])
def test_its_tables_are_those_of_a_study(text: str) -> None:
    given = tomllib.loads(text)
    tables: dict[str, Any] = {"name": "n", "scenario": {"steps": 300}, "seed": 7}
    if "precision" in given:
        given["precision"]["most_paths"] = 8192  # as far as the first look
    else:
        tables["paths"] = 2
    tables.setdefault("points", {"axes": {"quoting.base_spread": [0.02]}})
    study = Study.from_dict(tables | given)
    assert study.count >= 1
    assert len(mcmm.sweep(study, jobs=1).summary) == study.count


def few_paths(name: str, folder: Path) -> None:
    """Sweep a shipped study with few paths, into where the page has it."""
    tables = Study.load(ROOT / "sweeps" / f"{name}.toml").to_dict()
    tables.pop("precision", None)
    mcmm.sweep(Study.from_dict(tables | {"paths": 64}), folder / "runs" / name, jobs=2)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks("python")
    assert len(code) >= 4
    for name in sorted(set(re.findall(r'"runs/(\w+)"', "".join(code)))):
        if (ROOT / "sweeps" / f"{name}.toml").exists():
            few_paths(name, tmp_path)
    if any("to_xarray" in text for text in code):
        pytest.importorskip("xarray")
    for text in code:
        exec(compile(text, "docs/sweeps.md", "exec"), {})


def test_what_it_names_is_there() -> None:
    named = set(re.findall(r"sweeps/\w+\.toml", PAGE))
    assert len(named) >= 6
    assert all((ROOT / name).exists() for name in named)
    for command in re.findall(r"^\$ mcmm (\S+)", PAGE, flags=re.MULTILINE):
        assert command in {"sweep", "runs", "verify"}
