"""A page about a recorded market: sections of text, tables and figures, self-contained as the report is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from mcmm.reports import numbers

__all__ = ["Figure", "Section", "Table", "axis", "render"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    id : str
        Of its element.
    caption : str
        What it shows.
    traces : list of dict
        Plotly's traces; ``colour`` is the number of one of the theme's, ``dash`` is a line's, ``symbol`` a
        marker's.
    axes : dict
        Plotly's axes by name.
    height : int
        Pixels.
    """

    id: str
    caption: str
    traces: list[dict[str, Any]]
    axes: dict[str, Any]
    height: int = 340


@dataclass(frozen=True)
class Table:
    """One table: its heading cells, its rows, and which columns are text beside the first."""

    label: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    id: str
    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    text: str = ""
    pairs: bool = field(default=True)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return a plotly axis with a title."""
    return {"title": {"text": title}, **more}


def render(
    kicker: str, name: str, question: str, facts: Sequence[tuple[str, str]], sections: Sequence[Section]
) -> str:
    """Make the page.

    Parameters
    ----------
    kicker : str
        What kind of page it is.
    name, question : str
        Its title and the line below it.
    facts : sequence of (label, text)
        In a line below the title.
    sections : sequence of Section
        In their order.

    Returns
    -------
    str
        A whole HTML document that needs no other file and no network. Every text is escaped.
    """
    from jinja2 import Environment, StrictUndefined
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    home = files("mcmm.reports")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(home.joinpath("recorded.html.j2").read_text(encoding="utf-8"))
    drawn = [
        {"id": each.id, "traces": each.traces, "axes": each.axes, "height": each.height}
        for section in sections
        for each in section.figures
    ]
    return template.render(
        kicker=kicker,
        name=numbers.clean(name),
        question=numbers.clean(question),
        facts=[(label, numbers.clean(text)) for label, text in facts],
        sections=sections,
        data=htmlsafe_json_dumps(_plain(drawn), dumps=_dumps),
        # These three are the package's and plotly's own texts; none comes from a tape.
        style=Markup(home.joinpath("report.css").read_text(encoding="utf-8")),
        script=Markup(home.joinpath("recorded.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def _dumps(data: Any, **_: Any) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    """Turn arrays into lists, and NaN into null, which plotly leaves out."""
    match value:
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _ if hasattr(value, "tolist"):
            return _plain(value.tolist())
        case _:
            return value
