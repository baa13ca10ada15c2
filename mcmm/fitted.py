"""Fit: what a tape says of its market, and its scenario as TOML, where each setting has its source."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcmm.scenario import Scenario
from mcmm.tape_formats import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mcmm.fitting_flow import Arrivals, Estimate, Sides
    from mcmm.fitting_price import MarkOuts, Volatility
    from mcmm.fitting_sizes import SizeLaw
    from mcmm.tape import Tape

__all__ = ["Fit", "figure", "scenario_text", "source"]

_WIDTH = 100
_GIVEN = "assumed: as in the scenario given"


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """What a tape says of its market.

    Attributes
    ----------
    tape : Tape
        The tape.
    step : float
        Seconds of a step of the scenario.
    estimates : dict of str to Estimate
        By setting.
    unknown : dict of str to str
        Settings that the tape does not identify, and why not.
    scenario : Scenario
        The model's defaults with the estimates; what is unknown is as it was assumed.
    arrivals, sides, sizes, volatility
        The fits behind, None where the tape does not allow them.
    marks : tuple of MarkOuts
        Adverse selection at horizons, of a tape with quotes.
    squared : tuple of two ndarrays of shape (contracts,)
        Sums of squared price changes, and p0 (1 - p0) - pT (1 - pT).
    every : float
        Seconds between the prices of ``squared``.
    notes : tuple of str
        What is to be known of the fit, a sentence each.
    based : bool
        Whether what the tape does not identify, and the maker, are those of a scenario that was given.
    """

    tape: Tape
    step: float
    estimates: dict[str, Estimate]
    unknown: dict[str, str]
    scenario: Scenario
    arrivals: Arrivals | None
    sides: Sides | None
    sizes: SizeLaw | None
    volatility: Volatility | None
    marks: tuple[MarkOuts, ...]
    squared: tuple[NDArray[np.float64], NDArray[np.float64]]
    every: float
    notes: tuple[str, ...]
    based: bool

    def __repr__(self) -> str:
        """Say what was fitted, in a line."""
        return f"Fit({self.tape.source!r}, {len(self.estimates)} settings, a step of {self.step:g} s)"

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates as a frame.

        Returns
        -------
        DataFrame
            Index setting; value, standard_error, method, measure, fit, p_value, count.
        """
        import pandas as pd

        rows = [vars(each) for each in self.estimates.values()]
        columns = ["setting", "value", "standard_error", "method", "measure", "fit", "p_value", "count"]
        return pd.DataFrame(rows, columns=columns).set_index("setting")

    def dumps(self) -> str:
        """Return the scenario as TOML, each setting with its source in a comment."""
        return scenario_text(self)


def figure(value: float, figures: int = 4) -> str:
    """Write a number with so many significant figures, a dash for none."""
    return "-" if math.isnan(value) else f"{value:.{figures}g}"


def source(estimate: Estimate) -> str:
    """Say in a line how a setting was estimated, how far off it may be, and how well the law fits."""
    text = f"{estimate.method}; standard error {figure(estimate.standard_error, 2)}, n {estimate.count:,}"
    if not math.isnan(estimate.fit):
        text += f"; {estimate.measure} {figure(estimate.fit, 3)}"
    if not math.isnan(estimate.p_value):
        text += f" (p {figure(estimate.p_value, 2)})"
    return text


def scenario_text(fit: Fit) -> str:
    """Return the fit's scenario as TOML.

    Parameters
    ----------
    fit : Fit
        The fit.

    Returns
    -------
    str
        Settings that were estimated are ``measured``, with method, standard error and goodness of fit in a
        comment; what the tape does not identify is ``assumed``, with the reason. The maker's tables hold what
        the given scenario has other than the defaults.
    """
    lines = _comment(
        f"Fitted from {fit.tape.source}: {counted(len(fit.tape.contracts), 'contract')}, "
        f"{counted(len(fit.tape.prints), 'print')}, {counted(len(fit.tape.quotes), 'quote')}. "
        f"A step is {fit.step:g} s."
    )
    lines += [
        "#",
        *_comment("Each setting says where it comes from: measured (by which method), or assumed."),
    ]
    for note in fit.notes:
        lines += _comment(note)
    lines += _marks(fit)
    scenario = fit.scenario
    length = "measured: the median length of a contract's record"
    lines += ["", *_line("steps", scenario.steps, _GIVEN if fit.based else length), ""]
    lines.append("[market]")
    lines += _line("process", "logit", "assumed: volatility is measured in logit units")
    first = "the first price" if len(fit.tape.contracts) == 1 else "the mean of the contracts' first prices"
    lines += _line("initial_probability", scenario.market.initial_probability, f"measured: {first}")
    lines += _line("tick_size", scenario.market.tick_size, "measured: the grid that 95% of the prices are on")
    for name in ("volatility", "news_rate", "news_strength"):
        lines += _setting(fit, f"market.{name}")
    lines += ["", "[flow]", *_line("model", "takers", "assumed")]
    for name in (
        *("arrival_rate", "clustering", "clustering_steps", "news_excitation", "informed_fraction"),
        *("informed_know", "noise_buy_fraction", "herding", "price_sensitivity"),
    ):
        lines += _setting(fit, f"flow.{name}")
    lines += _sizes(fit)
    for table in ("fees", "quoting", "risk", "recovery", "schedule"):
        own = _given(fit, table)
        lines += ["", f"[{table}]", *own] if own else []
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    clean = " ".join(text.split())
    return textwrap.wrap(clean, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _line(name: str, value: Any, comment: str) -> list[str]:
    """Return a setting with its source: beside it as far as it fits, its rest below."""
    if isinstance(value, list):
        # Rows are not torn: within one no space may break.
        text = ", ".join(_number(each).replace(" ", "\N{NO-BREAK SPACE}") for each in value)
        rows = textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
        first, *rest = textwrap.wrap(comment, _WIDTH - 20, break_on_hyphens=False)
        below = _comment(" ".join(rest)) if rest else []
        return [
            f"{name} = [{'':<{max(0, 24 - len(name))}}# {first}",
            *(f"    {line}" for line in below),
            *(row.replace("\N{NO-BREAK SPACE}", " ") for row in rows),
            "]",
        ]
    shown = json.dumps(value) if isinstance(value, str | bool) else _number(value)
    head = f"{name} = {shown}"
    first, *rest = textwrap.wrap(comment, _WIDTH - max(len(head), 28), break_on_hyphens=False) or [""]
    lines = [f"{head:<27} # {first}"]
    if rest:
        lines += textwrap.wrap(
            " ".join(rest), _WIDTH, initial_indent="#   ", subsequent_indent="#   ", break_on_hyphens=False
        )
    return lines


def _number(value: Any) -> str:
    if isinstance(value, list):
        # Whole numbers of a table read better as whole.
        whole = (int(each) if isinstance(each, float) and each.is_integer() else each for each in value)
        return "[" + ", ".join(map(_number, whole)) + "]"
    # TOML spells infinity as Python does.
    return repr(value)


def _setting(fit: Fit, name: str) -> list[str]:
    """Return a setting that was estimated, or that could not be."""
    leaf, value = name.rpartition(".")[2], fit.scenario.get(name)
    if name in fit.estimates:
        return _line(leaf, value, f"measured: {source(fit.estimates[name])}")
    if name in fit.unknown:
        return _line(leaf, value, f"{_GIVEN if fit.based else 'assumed'}: {fit.unknown[name]}")
    return _line(leaf, value, f"{_GIVEN if fit.based else 'assumed'}: it matters only with clustering")


def _given(fit: Fit, table: str, names: tuple[str, ...] = ()) -> list[str]:
    """Return what a table of the given scenario has other than the defaults."""
    usual = Scenario().to_dict()[table]
    lines = []
    for name, value in fit.scenario.to_dict()[table].items():
        if (not names or name in names) and value != usual.get(name):
            lines += _line(name, math.inf if value == "inf" else value, _GIVEN)
    return lines


def _sizes(fit: Fit) -> list[str]:
    """Return the settings of the law of sizes."""
    flow = fit.scenario.flow
    if fit.sizes is None:
        why = f"{_GIVEN if fit.based else 'assumed'}: {fit.unknown['flow.size_distribution']}"
        lines = _line("size_distribution", flow.size_distribution, why)
        return lines + _given(fit, "flow", ("size_mean", "size_sigma", "size_table", "size_max"))
    lines = _line("size_distribution", flow.size_distribution, f"measured: {fit.sizes.method}")
    if flow.size_distribution == "empirical":
        mean = fit.estimates["flow.size_mean"]
        rows = [list(row) for row in flow.size_table]
        lines += _line("size_table", rows, f"measured: mean {figure(mean.value)}, {source(mean)}")
    else:
        lines += _setting(fit, "flow.size_mean")
        if flow.size_distribution == "lognormal":
            lines += _setting(fit, "flow.size_sigma")
    return lines + _line("size_max", flow.size_max, "measured: the largest size seen")


def _marks(fit: Fit) -> list[str]:
    """Return adverse selection at its horizons, in comments."""
    if not fit.marks:
        return []
    lines = [
        "#",
        *_comment("Adverse selection by mark-outs, dollars a contract, mean over prints with its error:"),
    ]
    for each in fit.marks:
        moved = f"the mid moves the taker's way by {each.moved:.5f} +- {each.moved_error:.5f}"
        kept = f"the maker keeps {each.kept:.5f} +- {each.kept_error:.5f}"
        lines += _comment(f"  after {each.seconds:g} s {moved}, {kept} (n {each.count:,})")
    return lines
