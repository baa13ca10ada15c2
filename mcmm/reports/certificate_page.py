"""A certificate as one self-contained HTML page, without a script and without the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcmm.calibration.certificate import OBJECTIVE, question_of
from mcmm.calibration.wording import (
    constraint_label,
    estimate_label,
    in_order,
    objective_unit,
    percent,
    setting_label,
    settings_text,
    share_label,
    shown,
    value_label,
)
from mcmm.files import write_whole

if TYPE_CHECKING:
    from mcmm.calibration.certificate import Certificate
    from mcmm.question import Question

__all__ = ["certificate_page", "write_certificate_page"]


def write_certificate_page(certificate: Certificate, path: str | Path) -> None:
    """Write a certificate's page, whole or not at all.

    Parameters
    ----------
    certificate : Certificate
        What to show.
    path : path
        The file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_whole(Path(path), certificate_page(certificate).encode())


def certificate_page(certificate: Certificate) -> str:
    """Return a certificate's page: the answer, the trials, what lies around it, and what it rests on."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    document, study = certificate.document, certificate.study
    question = question_of(study)
    home = files("mcmm.reports")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(home.joinpath("certificate.html.j2").read_text(encoding="utf-8"))
    objective = ""
    if document["objective"] is not None and question.objective.statistics:
        value, low, high = (
            shown(each, objective_unit(question)) for each in map(document["objective"].get, OBJECTIVE)
        )
        objective = f"{question.maximize}: {value} ({percent(question.confidence)} interval {low} to {high})."
    return template.render(
        style=Markup(home.joinpath("report.css").read_text(encoding="utf-8")),
        name=study.name,
        question=study.question,
        facts=[
            ("verdict", document["verdict"]),
            ("confidence", percent(question.confidence)),
            ("fresh paths", f"{document['paths']['certificate']:,}"),
            ("mcmm", document["mcmm"]),
        ],
        answer=document["answer"],
        verdict=document["verdict"],
        objective=objective,
        worlds=len(question.worlds) > 1,
        trials=[_trial(question, trial) for trial in document["trials"]],
        tables=[table for table in _tables(question, document) if table["rows"]],
        basis=_basis(document),
    )


def _trial(question: Question, trial: Mapping[str, Any]) -> dict[str, Any]:
    cells = []
    for cell in trial["cells"]:
        limit = question.constraint[cell["constraint"]]
        values = {
            name: value_label(limit.statistic, cell[name]) if math.isfinite(cell[name]) else "unknown"
            for name in ("low", "high")
        }
        values["estimate"] = estimate_label(limit.statistic, cell["estimate"], cell["paths"])
        drawn = _bar(cell["low"], cell["high"], cell["estimate"], limit.bound)
        cells.append(
            {
                "constraint": constraint_label(limit),
                "world": cell["world"],
                "verdict": cell["verdict"],
                "bound": value_label(limit.statistic, limit.bound),
                "drawn": drawn,
                **values,
            }
        )
    return {
        "setting": settings_text(trial["setting"]),
        "verdict": trial["verdict"],
        "paths": f"{trial['paths']:,}",
        "cells": cells,
    }


def _bar(low: float, high: float, estimate: float, bound: float) -> list[float] | None:
    """Return where an interval begins, its width, the estimate and the bound, in percent of the bar."""
    numbers = (low, high, estimate, bound)
    if not all(map(math.isfinite, numbers)):
        return None
    first, last = min(numbers), max(numbers)
    span = (last - first) * 1.1 or 1.0
    at = [round(100.0 * (number - first + 0.045 * span) / span, 2) for number in numbers]
    return [at[0], round(at[1] - at[0], 2), at[2], at[3]]


def _tables(question: Question, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what lies around the answer, as tables."""
    worlds = document["assumptions"]
    return [
        {
            "title": "Which assumption binds",
            "text": "The constraint that each world brings nearest to its bound.",
            "head": [
                *map(setting_label, sorted(question.robust)),
                "constraint",
                "estimate",
                "alone it would allow",
                "",
            ],
            "rows": [
                [
                    *(row["world"][name] for name in sorted(question.robust)),
                    constraint_label(question.constraint[row["constraint"]]),
                    estimate_label(
                        question.constraint[row["constraint"]].statistic, row["estimate"], row["paths"]
                    ),
                    row.get("alone", ""),
                    "binds" if row["binds"] else "",
                ]
                for row in worlds
            ],
        },
        {
            "title": "What the drawdown breaker does not save",
            "text": "Dollars past the trigger, at the step that trips and once the breaker's action is over.",
            "head": ["trigger", "tripped", "when", "mean", "50%", "95%", "99%", "largest"],
            "rows": [
                [
                    shown(row["trigger"], "$"),
                    share_label(row["tripped"], row["paths"]),
                    when.replace("_", " "),
                    *(shown(row[when][name], "$") for name in ("mean", "50%", "95%", "99%", "largest")),
                ]
                for row in document["breaker"]
                for when in ("at_the_trip", "in_the_end")
            ],
        },
        _around(question, "Around it, as the search saw it", document["frontier"]),
        _around(question, "What would change the answer", document["neighbours"]),
    ]


def _around(question: Question, title: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    count = len(question.constraint)
    body = []
    for row in in_order(rows, question.search):
        scores, estimates = row["scores"], row["estimates"]
        worst = [max(range(place, len(scores), count), key=scores.__getitem__) for place in range(count)]
        body.append(
            [
                settings_text(row["setting"]),
                shown(row["objective"], objective_unit(question)),
                *(
                    estimate_label(limit.statistic, estimates[at], row["paths"])
                    for limit, at in zip(question.constraint, worst, strict=True)
                ),
                "yes" if max(scores) <= 0.0 else "no",
                f"{row['paths']:,}",
            ]
        )
    everywhere = ", in the worst world" if len(question.worlds) > 1 else ""
    return {
        "title": title,
        "text": f"Estimates on the search's paths{everywhere}: they proposed it and are no evidence.",
        "head": ["setting", question.maximize, *map(constraint_label, question.constraint), "keeps", "paths"],
        "rows": body,
    }


def _basis(document: Mapping[str, Any]) -> list[str]:
    seeds, paths, plan = document["seeds"], document["paths"], document["plan"]
    looks = ", ".join(f"{look['paths']:,}" for look in document["looks"])
    alpha = percent(document["looks"][0]["alpha"])
    return [
        f"Looks after {looks} paths, each at {alpha} (linear alpha spending).",
        "A setting is certified when every constraint holds its own bound; settings are tried in an order "
        "that was fixed before, until one is not certified.",
        f"Seeds: search {seeds['search']}, certificate {seeds['certificate']}.",
        f"Each of the two is {seeds['rule']}, {seeds['study']}.",
        f"The search looked at {plan['settings']:,} settings with {paths['search']:,} paths.",
        *(f"Note: {note}." for note in plan["notes"]),
        "The certificate speaks of the model. What the model does not know, it cannot bound.",
    ]
