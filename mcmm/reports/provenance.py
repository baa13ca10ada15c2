"""Provenance: every setting and what it means, the scenario of each point, and what made the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcmm.reports import numbers
from mcmm.reports.queue import venue_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcmm.reports.findings import Findings
    from mcmm.scenario import Setting

__all__ = ["provenance_rows", "recipes", "settings_groups"]


def recipes(findings: Findings, rows: Iterable[int]) -> dict[str, Any]:
    """Give the scenario of points as TOML, small: one point's lines, and by row the lines that differ.

    Parameters
    ----------
    findings : Findings
        The sweep.
    rows : iterable of int
        Which points.

    Returns
    -------
    dict
        ``lines`` and ``changes``: by row, the number of each line that differs, with its text; of a scenario
        with more lines or fewer, all of them under ``whole``.
    """
    study = findings.result.study
    base: list[str] = []
    changes: dict[str, Any] = {}
    for row in rows:
        lines = study.scenario_at(int(findings.result.points.index[row])).dumps().splitlines()
        base = base or lines
        if len(lines) == len(base):
            pairs = enumerate(zip(base, lines, strict=True))
            changes[str(row)] = {str(place): new for place, (old, new) in pairs if old != new}
        else:
            changes[str(row)] = {"whole": lines}
    return {"lines": base, "changes": changes}


def settings_groups(findings: Findings) -> list[dict[str, Any]]:
    """Group every setting by table: its value or the values swept, its default and what it means."""
    study = findings.result.study
    points = findings.result.points
    groups: dict[str, list[dict[str, str]]] = {}
    scenario = study.scenario
    for name, setting in _described(findings).items():
        table, _, leaf = name.rpartition(".")
        if name in points.columns:
            kind, values = "swept", list(dict.fromkeys(numbers.setting_text(value) for value in points[name]))
            value = ", ".join(values)
        else:
            found = scenario.get(name)
            kind = "default" if found == setting.default else "set"
            value = numbers.setting_text(found) if found is not None else "derived"
        default = "derived" if setting.default is None else numbers.setting_text(setting.default)
        groups.setdefault(table, []).append(
            {
                "name": leaf,
                "full": name,
                "kind": kind,
                "value": value,
                "default": default,
                "unit": setting.unit,
                "description": setting.description,
            }
        )
    return [{"table": table or "scenario", "rows": rows} for table, rows in groups.items()]


def _described(findings: Findings) -> dict[str, Setting]:
    """Return the settings to show: the shared ones, and of several markets those each has for itself."""
    scenario = findings.result.study.scenario
    unused = ("portfolio.",) * (not scenario.markets) + ("book.",) * (not venue_of(findings))
    shown = {name: each for name, each in scenario.settings().items() if not name.startswith(unused)}
    if not scenario.markets:
        return shown
    own = (f"markets.{each.name}.{name}" for each in scenario.markets for name in each.overrides())
    return shown | {name: scenario.setting(name) for name in own}


def provenance_rows(findings: Findings) -> list[tuple[str, str]]:
    """List what made these numbers, in the order a reader asks."""
    found = findings.result.provenance
    study = findings.result.study
    known: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("mcmm", "mcmm", str),
        ("schema", "Schema version", str),
        ("path_steps", "Path-steps", lambda value: f"{int(value):,}"),
        (
            "path_steps_per_second",
            "Throughput",
            lambda value: f"{float(value) / 1e6:,.1f} million path-steps per second",
        ),
        ("wall_seconds", "Wall time", lambda value: numbers.duration(float(value))),
        ("started", "Started", str),
        ("sessions", "Sessions", str),
        ("jobs", "Jobs", str),
        ("backend", "Backend", str),
        ("cores", "Cores", str),
        ("isa", "Instruction set", str),
        ("machine", "Machine", str),
        ("python", "Python", str),
        ("numpy", "NumPy", str),
    )
    rows = [
        ("Points", f"{len(findings.order):,}"),
        ("Paths of each point", findings.paths_text),
        ("Seed", str(study.seed)),
        ("Study digest (SHA-256)", study.digest()),
    ]
    return rows + [(label, numbers.clean(text(found[key]))) for key, label, text in known if key in found]
