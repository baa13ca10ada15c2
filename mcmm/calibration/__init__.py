"""Limits with a certificate: a search for the best settings, and their trial on paths that it never saw."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcmm.calibration.certificate import Certificate, Plan, assemble, plan_of, question_of, seed_for
from mcmm.calibration.sampling import Sampler
from mcmm.calibration.search import search
from mcmm.engine import core_info, cores
from mcmm.errors import InputError
from mcmm.study import Study

__all__ = ["Certificate", "Recomputed", "calibrate", "recompute"]

Progress = Callable[[str, int, int], object]

# What says when, where and by which version a certificate was made, and not what it says.
_APART = ("provenance", "mcmm")


def calibrate(study: Study, *, jobs: int = -1, progress: Progress | None = None) -> Certificate:
    """Find the best settings under a study's constraints, and certify them on fresh paths.

    Parameters
    ----------
    study : Study
        With ``calibrate``, see `mcmm.question.Question`.
    jobs : int
        Threads; -1 for one a core. It changes no value.
    progress : callable, optional
        Called as ``progress(what, done, total)``: what is done now, and how many of its path-steps are done.

    Returns
    -------
    Certificate
        Certified, infeasible or undecided.

    Raises
    ------
    InputError
        If the study asks nothing, or ``jobs`` is out of its range.
    StudyError
        If the search is empty.
    KeyboardInterrupt
        On Ctrl-C; nothing was written.

    Examples
    --------
    >>> study = Study(
    ...     name="drawdown", scenario={"steps": 100}, seed=7,
    ...     calibrate={
    ...         "maximize": "risk.inventory_limit", "paths": 4096,
    ...         "constraint": [{"probability": "max_drawdown_fair > 4", "at_most": 0.05}],
    ...         "search": {"risk.inventory_limit": {"low": 5, "high": 100, "integer": True}},
    ...     },
    ... )
    >>> calibrate(study).verdict
    'certified'
    """
    question = question_of(study)
    threads, tell = _threads(jobs), _silent if progress is None else progress
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    sampler = Sampler(study.scenario, question, seed_for("search", study.seed), threads, tell)
    plan = plan_of(sampler, search(sampler))
    document = assemble(study, plan, threads, tell, sampler)
    document["provenance"] = {
        **core_info(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
    }
    return Certificate(document)


@dataclass(frozen=True)
class Recomputed:
    """What computing a certificate again came to.

    Attributes
    ----------
    numbers : int
        How many values were compared.
    differences : tuple of str
        A line for each that is not the same: where, what the file has, what was computed.
    """

    numbers: int
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every value is the same."""
        return not self.differences


def recompute(
    certificate: Certificate | str | Path, *, jobs: int = -1, progress: Progress | None = None
) -> Recomputed:
    """Compute every number of a certificate again, from its question, its seeds and the settings it tried.

    The trials, the frontier and the sentences are made anew and compared. The search is not run again: it
    proposed the settings, and nothing that the certificate says rests on how.

    Parameters
    ----------
    certificate : Certificate or path
        What to check.
    jobs : int
        Threads; -1 for one a core.
    progress : callable, optional
        As for `calibrate`.

    Raises
    ------
    InputError
        If the file is no certificate.
    """
    given = certificate if isinstance(certificate, Certificate) else Certificate.load(certificate)
    plan = Plan.from_dict(given.document["plan"])
    again = assemble(given.study, plan, _threads(jobs), _silent if progress is None else progress)
    found = _compare("", _plain(again), _plain(given.document))
    return Recomputed(sum(1 for _, differs in found), tuple(line for line, differs in found if differs))


def _threads(jobs: int) -> int:
    if jobs != -1 and (isinstance(jobs, bool) or not 1 <= jobs <= 1024):
        raise InputError(f"jobs: must be >= 1 and <= 1024, or -1 for one a core, got {jobs!r}")
    return cores() if jobs == -1 else jobs


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def _plain(document: dict[str, Any]) -> Any:
    """Return a certificate as it is after saving and loading, without what may differ."""
    import json

    from mcmm.files import from_json, to_json

    kept = {name: value for name, value in document.items() if name not in _APART}
    return from_json(json.loads(to_json(kept)))


def _compare(place: str, made: Any, given: Any) -> list[tuple[str, bool]]:
    """Return for each value a line on it, and whether the two differ."""
    if isinstance(made, dict) and isinstance(given, dict):
        names = sorted({*made, *given})
        parts = [_compare(f"{place}.{name}", made.get(name, _NONE), given.get(name, _NONE)) for name in names]
        return [line for part in parts for line in part]
    if isinstance(made, list) and isinstance(given, list) and len(made) == len(given):
        parts = [_compare(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(made, given, strict=True))]
        return [line for part in parts for line in part]
    unknown = isinstance(made, float) and isinstance(given, float) and math.isnan(made) and math.isnan(given)
    same = unknown or (type(made) is type(given) and bool(made == given))
    return [(f"{place.removeprefix('.')}: the file has {given!r}, computed again it is {made!r}", not same)]


_NONE = "nothing"
