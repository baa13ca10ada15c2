"""Certificates: what was asked, what was found, and all that it takes to compute every number of it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcmm import __version__
from mcmm.calibration.bounds import looks
from mcmm.calibration.evidence import assumptions, overshoot
from mcmm.calibration.sampling import Key, Sampler, Tell
from mcmm.calibration.scores import Evaluation, Space, evaluate
from mcmm.calibration.search import Found
from mcmm.calibration.trials import CERTIFIED, REFUTED, Trial, certify
from mcmm.calibration.wording import answer, asked, constraint_label
from mcmm.errors import InputError, MCMMError
from mcmm.files import from_json, to_json, write_whole
from mcmm.question import Question
from mcmm.study import Study

__all__ = ["SEED_RULE", "Certificate", "Plan", "assemble", "plan_of", "question_of", "seed_for"]

Chosen = tuple[dict[str, Any], int]  # a setting, and with how many paths it is looked at

SCHEMA = 1
SEED_RULE = (
    "the first 8 bytes, as a big-endian number, of the SHA-256 of 'mcmm calibrate: PURPOSE of seed SEED', "
    "PURPOSE being search or certificate and SEED the study's"
)
_AROUND = 16
_STEP = 0.1


def seed_for(purpose: str, seed: int) -> int:
    """Return the seed of the search's or of the certificate's paths, by `SEED_RULE`."""
    text = f"mcmm calibrate: {purpose} of seed {seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def question_of(study: Study) -> Question:
    """Return what a study asks.

    Raises
    ------
    InputError
        If it asks nothing.
    """
    if not isinstance(study, Study):
        raise InputError(f"study: must be a Study, got {type(study).__name__}")
    if study.calibrate is None:
        raise InputError(f"study: {study.name!r} has no [calibrate], which says what limits are to hold")
    return study.calibrate


@dataclass(frozen=True)
class Plan:
    """What the search decided: which settings are tried, and which are shown around them.

    Attributes
    ----------
    candidates : list of dict
        The settings to be tried, from safe to risky.
    fallback : bool
        Whether the only candidate is the least violated setting, for want of one that keeps a margin.
    best : tuple of (dict, int)
        The best setting in the search's own view, and its paths.
    around : list of tuple of (dict, int)
        Settings of the search to be shown, with their paths.
    neighbours : list of tuple of (dict, int)
        Settings that differ from the answer in one axis.
    settings, paths : int
        How many the search looked at.
    notes : list of str
        What is to be said of it.
    """

    candidates: list[dict[str, Any]]
    fallback: bool
    best: Chosen
    around: list[Chosen]
    neighbours: list[Chosen]
    settings: int
    paths: int
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a table of the certificate."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Plan:
        """Read `to_dict`'s table."""
        return cls(**table)


def plan_of(sampler: Sampler, found: Found) -> Plan:
    """Make a plan of what the search found."""
    space = Space(sampler.question)
    centre = found.candidates[-1]
    middle = space.point(centre)

    def away(one: Evaluation) -> float:
        return float(abs(space.point(one.key) - middle).max())

    most = max(each.paths for each in found.evaluations)
    well_known = [each for each in found.evaluations if each.paths >= most // 8]
    near = sorted(well_known, key=away)[:_AROUND]
    neighbours = [key for key in space.neighbours(centre, _STEP) if sampler.possible(key)]
    return Plan(
        candidates=[sampler.named(key) for key in found.candidates],
        fallback=found.fallback,
        best=(sampler.named(found.best.key), found.best.paths),
        around=[(sampler.named(each.key), each.paths) for each in near],
        neighbours=[(sampler.named(key), most // 2) for key in neighbours],
        settings=len(found.evaluations),
        paths=sampler.paths_run,
        notes=list(found.notes),
    )


def assemble(study: Study, plan: Plan, jobs: int, tell: Tell, known: Sampler | None = None) -> dict[str, Any]:
    """Compute every number of a certificate.

    Parameters
    ----------
    study : Study
        What was asked.
    plan : Plan
        What the search decided.
    jobs : int
        Threads; they change nothing.
    tell : callable
        Told what is done.
    known : Sampler, optional
        Paths of the search that there are already.

    Returns
    -------
    dict
        The certificate, without what says when and where it was made.
    """
    question = question_of(study)
    search_seed, fresh_seed = (seed_for(purpose, study.seed) for purpose in ("search", "certificate"))
    searched = known or Sampler(study.scenario, question, search_seed, jobs, tell)
    fresh = Sampler(study.scenario, question, fresh_seed, jobs, tell)
    schedule = looks(question)
    trials = certify(fresh, [fresh.key_of(setting) for setting in plan.candidates], schedule)
    verdict = _verdict(plan, trials)
    rows = [_row(trial) for trial in trials]
    held = [row for row in rows if row["verdict"] == CERTIFIED]
    shown = max((trial for trial in trials if trial.certified), key=trials.index, default=trials[0])
    frontier = _frontier(searched, plan.around, "computing the frontier")
    return {
        "schema": SCHEMA,
        "mcmm": __version__,
        "study": study.to_dict(),
        "asked": asked(question),
        "constraints": [constraint_label(limit) for limit in question.constraint],
        "worlds": question.worlds,
        "verdict": verdict,
        "answer": answer(question, verdict, rows),
        "setting": held[-1]["setting"] if held else None,
        "objective": {key: held[-1][key] for key in _OBJECTIVE} if held else None,
        "least_violated": plan.candidates[0] if verdict == "infeasible" else None,
        "seeds": {"study": study.seed, "search": search_seed, "certificate": fresh_seed, "rule": SEED_RULE},
        "looks": [look._asdict() for look in schedule],
        "trials": rows,
        "frontier": frontier,
        "assumptions": assumptions(fresh, shown, frontier),
        "breaker": overshoot(fresh, shown),
        "neighbours": _frontier(searched, plan.neighbours, "asking what would change the answer"),
        "best": _frontier(searched, [plan.best], "computing the best")[0],
        "plan": plan.to_dict(),
        "paths": {"search": plan.paths, "certificate": fresh.paths_run},
    }


_OBJECTIVE = ("objective", "objective_low", "objective_high")


def _verdict(plan: Plan, trials: Sequence[Trial]) -> str:
    if trials[0].certified:
        return CERTIFIED
    return "infeasible" if plan.fallback and trials[0].verdict == REFUTED else "undecided"


def _row(trial: Trial) -> dict[str, Any]:
    row = asdict(trial)
    row["cells"] = [dict(cell) for cell in row["cells"]]
    row["more"] = trial.more
    return row


def _frontier(sampler: Sampler, settings: Sequence[Chosen], what: str) -> list[dict[str, Any]]:
    """Evaluate settings with the search's paths."""
    by_paths: dict[int, list[Key]] = {}
    for setting, paths in settings:
        by_paths.setdefault(paths, []).append(sampler.key_of(setting))
    for paths, keys in by_paths.items():
        sampler.need(keys, paths, what)
    rows = []
    for setting, paths in settings:
        one = evaluate(sampler, sampler.key_of(setting), paths)
        rows.append(
            {
                "setting": setting,
                "paths": paths,
                "objective": one.objective,
                "estimates": list(one.estimates),
                "scores": list(one.scores),
            }
        )
    return rows


@dataclass(frozen=True)
class Certificate:
    """Limits, and why they hold: the answer, its evidence, and what computes it again.

    Attributes
    ----------
    document : dict
        All of it, as `save` writes it: ``answer``, ``verdict``, ``setting``, ``trials`` with the estimate,
        bounds and verdict of each constraint, ``looks``, ``seeds``, ``frontier``, ``neighbours`` and so on.
    """

    document: dict[str, Any]

    @property
    def verdict(self) -> str:
        """``certified``, ``infeasible`` or ``undecided``."""
        return str(self.document["verdict"])

    @property
    def setting(self) -> dict[str, Any] | None:
        """The certified values by dotted name; None if nothing was certified."""
        found = self.document["setting"]
        return None if found is None else dict(found)

    @property
    def answer(self) -> str:
        """The answer in a sentence."""
        return str(self.document["answer"])

    @property
    def study(self) -> Study:
        """What was asked."""
        return Study.from_dict(self.document["study"])

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all; raises InputError if that cannot be done."""
        write_whole(Path(path), to_json(self.document))

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file cannot be read, or is no certificate.
        """
        path = Path(path)
        try:
            document = from_json(json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError):
            raise InputError(f"{path}: is not a certificate: not JSON") from None
        if not isinstance(document, dict) or document.keys() < {"schema", "study", "trials", "plan"}:
            raise InputError(f"{path}: is not a certificate of `mcmm calibrate`")
        if document["schema"] != SCHEMA:
            raise InputError(f"{path}: has schema {document['schema']!r}, this version reads {SCHEMA}")
        try:
            question_of(Study.from_dict(document["study"]))
            Plan.from_dict(document["plan"])
        except (MCMMError, TypeError) as error:
            raise InputError(f"{path}: is not a certificate: {str(error).splitlines()[0]}") from None
        return cls(document)
