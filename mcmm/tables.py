"""The tables of a scenario: every setting with its type, range, default, unit and meaning.

Nothing here looks at two settings at once; the tree they make is `mcmm.markets.Tables`,
and what contradicts what is said in `mcmm.scenario`.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from mcmm.errors import ScenarioError

__all__ = [
    "COUNT",
    "STEPS",
    "WINDOW",
    "Amount",
    "Chance",
    "Fees",
    "Flow",
    "Limit",
    "Market",
    "Pause",
    "Quoting",
    "Recovery",
    "Risk",
    "Schedule",
    "Share",
    "Table",
    "setting",
]

STEPS = 10**8
"""The longest path."""
COUNT = 10**9
"""The most contracts quoted, and the most steps counted down."""
WINDOW = 100_000
"""The longest window, every step of which a path has to remember."""
TICKS = 1_000_000
"""The finest grid: ticks in a dollar."""
LARGE = 1e6
"""Beyond any price, spread or factor in use, and small enough that products of a few stay finite."""

# Every number but a limit has both ends bounded, which keeps out nan and inf as well.
Chance = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Amount = Annotated[float, Field(ge=0, le=LARGE)]
Shade = Annotated[float, Field(ge=-LARGE, le=LARGE)]
Positive = Annotated[float, Field(ge=1e-6, le=LARGE)]
Multiplier = Annotated[float, Field(ge=1, le=LARGE)]
Count = Annotated[int, Field(ge=1, le=COUNT)]
Window = Annotated[int, Field(ge=1, le=WINDOW)]

# inf is no limit. Editors check TOML as JSON, where it arrives as null or as a number beyond the largest one:
# the schema has to allow both.
Limit = Annotated[float, Field(gt=0), WithJsonSchema({"type": ["number", "null"], "exclusiveMinimum": 0})]
WholeLimit = Annotated[
    Annotated[int, Field(ge=1)] | Annotated[float, Field(ge=math.inf)],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": ["number", "null"], "exclusiveMinimum": sys.float_info.max},
            ],
            "rule": "a whole number >= 1 or inf",
        }
    ),
]

# TOML and JSON have lists only; kept as tuples, so that a table stays frozen.
Row = Annotated[tuple[Count, Annotated[float, Field(ge=0, le=1e12)]], Strict(False)]
Rows = Annotated[tuple[Row, ...], Strict(False)]

Parameters = Annotated[
    tuple[Annotated[float, Field(ge=-1e12, le=1e12)], ...], Field(max_length=64), Strict(False)
]

Step = Annotated[int, Field(ge=0, lt=STEPS)]
Shape = Annotated[
    tuple[Annotated[tuple[Step, Annotated[float, Field(ge=0, le=LARGE)]], Strict(False)], ...], Strict(False)
]


def _news_form(row: Any) -> str:
    return "step" if isinstance(row, list | tuple) and len(row) == 1 else "step and strength"


News = Annotated[
    Annotated[tuple[Step], Strict(False), Tag("step")]
    | Annotated[tuple[Step, Share], Strict(False), Tag("step and strength")],
    Discriminator(_news_form),
]


def _on_a_grid(tick_size: float) -> float:
    if tick_size:
        ticks = 1 / tick_size
        if ticks > TICKS * (1 + 1e-9) or abs(ticks - round(ticks)) > 1e-9 * ticks:
            raise ValueError("not a whole number of ticks in a dollar, or too many")
    return tick_size


TickSize = Annotated[float, Field(ge=0, le=0.25), AfterValidator(_on_a_grid)]


def _countable(rounding: float) -> float:
    # A fee is counted in multiples of it, exactly only while they stay below 2**50.
    if 0 < rounding < 1e-9:
        raise ValueError("too small to count a fee in")
    return rounding


Rounding = Annotated[float, Field(ge=0, le=1), AfterValidator(_countable)]


def setting(default: Any, unit: str, description: str, rule: str | None = None) -> Any:
    """Declare a setting.

    Parameters
    ----------
    default : Any
        The value of a setting that is not given; None for one that is then derived from others.
    unit : str
        What the value counts, ``""`` for a pure number or a choice.
    description : str
        What it means, as an editor or a report shows it.
    rule : str, optional
        What a value must be, where its type does not say it all.

    Returns
    -------
    Any
        The pydantic field.
    """
    extra: dict[str, Any] = {"unit": unit} if rule is None else {"unit": unit, "rule": rule}
    return Field(default=default, description=description, json_schema_extra=extra)


class Table(BaseModel):
    """Frozen and strict: no unknown key, no number from a string or a bool."""

    # Built with the scenario that holds it: each table on its own would make an import a tenth longer.
    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", ser_json_inf_nan="constants", defer_build=True
    )

    if not TYPE_CHECKING:  # to a type checker it would say that anything may be set

        def __setattr__(self, name: str, value: Any) -> None:
            """Refuse a change of a setting in the house's words; pydantic's do not say what to do instead."""
            if name in type(self).model_fields:
                raise ScenarioError(
                    f"{name}: a scenario does not change; its replace({{..}}) returns a changed one"
                )
            super().__setattr__(name, value)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        """Take NumPy's scalars, as rows of a DataFrame hold them, for the plain numbers they are."""
        if not isinstance(data, dict):
            return data
        return {key: value.item() if isinstance(value, np.generic) else value for key, value in data.items()}


class Market(Table):
    """The contract: where its fair value starts and how it moves."""

    initial_probability: Annotated[float, Field(gt=0, lt=1)] = setting(
        0.5, "chance", "Fair value before the first step, p_0. Not used by process arithmetic."
    )
    initial_mid: Annotated[float, Field(ge=-1e9, le=1e9)] | SkipJsonSchema[None] = setting(
        None,
        "$ per contract",
        "The maker's first estimate of the fair value; initial_probability if left out. Process arithmetic "
        "starts its price here.",
    )
    tick_size: TickSize = setting(
        0.01,
        "$ per contract",
        "Smallest price increment; 0 for continuous prices (process arithmetic, policies glosten_milgrom and "
        "lmsr).",
        rule=f"0, or 1/tick_size a whole number >= 4 and <= {TICKS}",
    )
    process: Literal["logit", "threshold", "arithmetic"] = setting(
        "logit",
        "",
        "How the fair value moves: logit (a martingale diffusion of the log-odds, with news), threshold "
        "(the chance that a random walk ends above a line) or arithmetic (an unbounded walk of the price).",
    )
    volatility: Amount = setting(
        0.02,
        "per square root of a step",
        "Standard deviation of a step's move, in logit units, or in dollars for process arithmetic; 0 "
        "keeps the fair value constant. Process threshold has its own.",
    )
    news_rate: Chance = setting(0.0, "chance", "Chance of a news jump per step (process logit).")
    news_strength: Share = setting(
        0.0, "", "Share of the way to 0 or 1 that a news jump moves the fair value; 1 resolves the event."
    )
    resolution_step: Count | SkipJsonSchema[None] = setting(
        None, "steps", "Process threshold: the step at which the fair value is 0 or 1; steps if left out."
    )


class Flow(Table):
    """The takers: how often they come, what they know, how much they want."""

    model: Literal["takers", "intensity", "replay"] = setting(
        "takers",
        "",
        "Who trades: takers (one at most per step, informed or not), intensity (each side hit on its own, "
        "less often the further from the fair value) or replay (given orders).",
    )
    arrival_rate: Chance = setting(0.3, "chance", "Chance that a taker arrives in a step, on average.")
    clustering: Fraction = setting(
        0.0, "", "Branching ratio of the arrivals: the share that earlier arrivals excite (Hawkes)."
    )
    clustering_steps: Annotated[float, Field(ge=0.01, le=COUNT)] = setting(
        20.0, "steps", "e-folding time of the excitation."
    )
    news_excitation: Amount = setting(
        0.0, "chance", "What a news jump adds to the chance of an arrival; it decays as the excitation does."
    )
    informed_fraction: Share = setting(0.15, "", "Share of takers who are informed.")
    informed_know: Literal["probability", "outcome"] = setting(
        "probability", "", "What informed takers know: the fair value, or the outcome (process logit only)."
    )
    noise_buy_fraction: Chance = setting(0.5, "chance", "An uninformed taker's chance to be a buyer.")
    herding: Chance = setting(0.0, "chance", "Chance that an uninformed taker repeats the last taker's side.")
    price_sensitivity: Amount = setting(
        20.0,
        "per $",
        "k: an uninformed taker trades with chance exp(-k * cost), cost being how much worse than the fair "
        "value the quote is.",
    )
    size_distribution: Literal["geometric", "fixed", "lognormal", "empirical"] = setting(
        "geometric", "", "Law of a taker's size, conditioned on 1..size_max."
    )
    size_mean: Annotated[float, Field(ge=1, le=COUNT)] = setting(
        3.0, "contracts", "Mean of the law before it is conditioned; for fixed the size itself."
    )
    size_sigma: Annotated[float, Field(ge=0.01, le=5)] = setting(
        1.0, "", "Law lognormal: standard deviation of the size's log."
    )
    size_table: Rows = setting(
        (),
        "contracts",
        "Law empirical: rows [size, weight].",
        rule="rows [size, weight], a whole number >= 1 and <= 1e9 and a number >= 0 and <= 1e12",
    )
    size_max: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        20, "contracts", "Largest size a taker asks for."
    )
    intensity_scale: Annotated[float, Field(ge=0, le=1e9)] = setting(
        140.0, "per unit of dt", "A: rate of hits of a quote at the fair value (model intensity)."
    )
    intensity_decay: Positive = setting(
        1.5,
        "per $",
        "k: the rate of hits falls as exp(-k * distance of the quote from the fair value) (model intensity "
        "and policy avellaneda_stoikov).",
    )
    dt: Annotated[float, Field(ge=1e-9, le=LARGE)] = setting(
        0.005, "time", "Length of a step (model intensity and policy avellaneda_stoikov)."
    )


class Fees(Table):
    """What the venue charges the maker."""

    maker_rate: Annotated[float, Field(ge=-1, le=1)] = setting(
        0.0, "", "A fill's fee is rate * price * (1 - price) dollars per contract; negative is a rebate."
    )
    rounding: Rounding = setting(
        0.0,
        "$",
        "Each fill's fee is rounded up to a multiple of this (0.01: to the cent); 0 for none. Rebates are "
        "not rounded.",
        rule="0, or a number >= 1e-9 and <= 1",
    )


class Quoting(Table):
    """The maker's policy: how it sets prices and sizes."""

    policy: Literal["adaptive", "symmetric", "avellaneda_stoikov", "glosten_milgrom", "lmsr", "custom"] = (
        setting(
            "adaptive",
            "",
            "How prices are set: adaptive (a mid learnt from fills, a spread widened by imbalance and "
            "inventory), symmetric (a constant spread), avellaneda_stoikov (reservation price and spread of "
            "their 2008 paper), glosten_milgrom (what the contract is worth given the next trade), lmsr "
            "(Hanson's market scoring rule) or custom (a function of one's own, given when it is run).",
        )
    )
    base_spread: Amount = setting(0.04, "$ per contract", "Spread at no imbalance and no inventory.")
    imbalance_factor: Amount = setting(
        0.5, "", "Share of base_spread that is added at full imbalance of the recent flow."
    )
    inventory_factor: Amount = setting(
        0.5, "", "Share of base_spread that is added with inventory at its limit."
    )
    quote_size: Count = setting(10, "contracts", "Contracts quoted a side at no inventory.")
    imbalance_window: Window = setting(
        50, "steps", "Steps over which the imbalance is taken, the current one included."
    )
    reference_weight: Share = setting(
        0.0,
        "",
        "Share of its gap to a noisy reference price that the mid moves each step; 0 for own flow only.",
    )
    reference_noise: Amount = setting(
        0.0, "$ per contract", "Standard deviation of the reference price around the fair value."
    )
    volatility_factor: Amount = setting(
        0.0,
        "",
        "What each half-spread adds, in one-step standard deviations of the fair value as the maker "
        "reckons them.",
    )
    fill_shade: Shade = setting(
        0.003, "$ per contract", "On a fill the mid moves by this * signed taker volume / quote_size."
    )
    imbalance_shade: Shade = setting(
        0.003, "$ per contract", "On a fill the mid moves by this * imbalance of the recent flow."
    )
    inventory_shade: Shade = setting(
        0.0, "$ per contract", "On a fill the mid moves by -this * inventory / inventory_limit."
    )
    defensive_threshold: Fraction = setting(
        0.7, "", "Share of inventory_limit past which the mid is shaded defensively."
    )
    defensive_shade: Shade = setting(
        0.002,
        "$ per contract",
        "That shade, on a fill, with inventory at its limit; it grows from 0 at the threshold.",
    )
    risk_aversion: Positive = setting(0.1, "per $", "gamma of policy avellaneda_stoikov.")
    assumed_informed_fraction: Fraction = setting(
        0.1, "", "Policy glosten_milgrom: the share of takers that the maker takes to know the outcome."
    )
    liquidity: Annotated[float, Field(ge=0.01, le=LARGE)] = setting(
        100.0, "contracts", "b of policy lmsr: the larger, the less a contract moves the price."
    )
    parameters: Parameters = setting(
        (),
        "",
        "Policy custom: numbers handed to it, in this order.",
        rule="a list of at most 64 numbers between -1e12 and 1e12",
    )


class Risk(Table):
    """Limits and circuit breakers."""

    inventory_limit: WholeLimit = setting(
        100, "contracts", "Hard cap on inventory, long or short; inf for none."
    )
    exposure_limit: Limit = setting(
        math.inf,
        "$",
        "Cap on the loss at the worse outcome that a fill may build, at its own price; inf for none.",
    )
    exposure_soft_fraction: Share = setting(
        0.8, "", "Share of exposure_limit past which the accumulating side is quoted passively."
    )
    passive_multiplier: Multiplier = setting(
        2.0, "", "Half-spread multiplier on the accumulating side past the soft fraction."
    )
    drawdown_limit: Limit = setting(math.inf, "$", "Drawdown that trips the breaker; inf for none.")
    mark: Literal["mid", "fair"] = setting(
        "mid", "", "What pnl, drawdown and breakers are marked at: the maker's mid or the fair value."
    )
    drawdown_baseline: Literal["peak", "start"] = setting(
        "peak", "", "What a drawdown is measured from: the highest pnl so far, or the start."
    )
    breaker_action: Literal["halt", "pause", "flatten"] = setting(
        "halt",
        "",
        "What a tripped breaker does: halt (no more quotes), pause (none for pause_steps) or flatten "
        "(halt, and close the inventory).",
    )
    pause_steps: Count = setting(50, "steps", "Length of a pause.")
    loss_limit: Limit = setting(
        math.inf, "$", "Loss within loss_window steps that trips the breaker; inf for none."
    )
    loss_window: Window = setting(20, "steps", "Steps over which that loss is taken.")
    volume_limit: WholeLimit = setting(
        math.inf,
        "contracts",
        "Contracts filled within volume_window steps that trip the breaker; inf for none.",
    )
    volume_window: Window = setting(20, "steps", "Steps over which that volume is taken.")
    unwind_slippage: Annotated[float, Field(ge=0, le=1)] = setting(
        0.01, "$ per contract", "What flatten pays beyond the fair value to close the inventory."
    )
    close_steps: Annotated[int, Field(ge=0, le=STEPS)] = setting(
        0, "steps", "In this many last steps only the side that reduces inventory is quoted."
    )


class Recovery(Table):
    """Lost connections, and how quoting comes back."""

    disconnect_rate: Chance = setting(0.0, "chance", "Chance per step that the connection drops.")
    outage_steps: Count = setting(20, "steps", "Length of an outage.")
    stale_quotes: bool = setting(
        False,
        "",
        "Whether quotes rest, unrevised, through an outage (true) or are cancelled at its start (false).",
    )
    conservative_multiplier: Multiplier = setting(
        3.0, "", "Spread multiplier on coming back from an outage or a pause."
    )
    ramp_steps: Annotated[int, Field(ge=0, le=COUNT)] = setting(
        50, "steps", "Quoted steps over which that multiplier falls linearly back to 1; 0 for at once."
    )


class Pause(Table):
    """A stretch in which the venue takes no new quotes."""

    start: Step = Field(description="Its first step.")
    steps: Count = Field(description="Its length.")
    quotes: Literal["cancel", "rest"] = Field(
        "cancel", description="Whether the quotes in the book are cancelled, or rest and may be hit."
    )


def _shape(of: str) -> Any:
    return setting(
        (),
        "steps",
        f"What {of} is multiplied by over the path: each row holds from its step on, 1 before the first.",
        rule="rows [step, multiplier], a whole number >= 0 and < 1e8 and a number >= 0 and <= 1e6",
    )


class Schedule(Table):
    """The day's shape: what changes at given steps."""

    arrival_rate: Shape = _shape("flow.arrival_rate")
    informed_fraction: Shape = _shape("flow.informed_fraction")
    volatility: Shape = _shape("market.volatility")
    amplitude: Amount = setting(
        1.0,
        "",
        "Scales the shapes: a multiplier m acts as 1 + amplitude * (m - 1); 0 is a day without shape.",
    )
    news: Annotated[tuple[News, ...], Strict(False)] = setting(
        (),
        "steps",
        "Steps in which a news jump is certain (process logit), with its strength where it is not "
        "market.news_strength.",
        rule="rows [step] or [step, strength], a whole number >= 0 and < 1e8 and a number >= 0 and <= 1",
    )
    pauses: Annotated[tuple[Pause, ...], Strict(False)] = setting(
        (),
        "steps",
        "Stretches in which the venue takes no new quotes; those in the book are cancelled, or rest.",
        rule="rows {start, steps, quotes}, whole numbers start >= 0 and steps >= 1, quotes cancel (if left "
        "out) or rest",
    )
