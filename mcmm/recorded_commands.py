"""The commands about recorded markets: replay and fit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcmm.arguments import PolicyOption, check_output, parse_settings, write_frame
from mcmm.console import Interrupted, ProgressBar
from mcmm.errors import InputError

if TYPE_CHECKING:
    from mcmm.tape import Tape

__all__ = ["add_to"]


class Account(StrEnum):
    """What an account was in its own trades."""

    taker = "taker"
    maker = "maker"


class Sizes(StrEnum):
    """Laws of sizes."""

    auto = "auto"
    geometric = "geometric"
    lognormal = "lognormal"
    empirical = "empirical"


TapeArgument = Annotated[
    Path, typer.Argument(metavar="TAPE", help="Prints or quotes, CSV or JSON: Kalshi, Polymarket or plain.")
]
QuotesOption = Annotated[
    Path | None, typer.Option("--quotes", metavar="FILE", help="Quotes of the tape's contracts.")
]
OutcomesOption = Annotated[
    Path | None,
    typer.Option("--outcomes", metavar="FILE", help="What contracts settled at: contract,outcome in CSV."),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=OWN",
        help="The tape's own name for a plain column, as time=timestamp_ms; may be repeated.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", "-f", metavar="NAME", help="The tape's format, if its columns are not to tell."),
]
AccountOption = Annotated[
    Account,
    typer.Option("--account", help="What an account is taken for in its own trades."),
]
StepOption = Annotated[
    float | None,
    typer.Option(
        "--step", metavar="SECONDS", help="Cut the tape by wall time; by event, a step a print, if not given."
    ),
]
CaptureOption = Annotated[
    float, typer.Option("--capture", metavar="SHARE", help="Share of each print that the maker may fill.")
]
MergeOption = Annotated[
    bool, typer.Option("--merge", help="Make one order of prints with one time and side in a row.")
]
ContractOption = Annotated[
    list[str] | None,
    typer.Option("--contract", metavar="NAME", help="Only this contract; may be repeated."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm replay trades.csv scenarios/kalshi_macro.toml --capture 0.2\n\n"
            "  mcmm replay trades.csv maker.toml --quotes quotes.csv --step 1 --html replay.html\n\n"
            "  mcmm replay trades.json maker.toml --set risk.mark=fair --out paths.parquet --trace 3\n\n"
            "docs/recorded.md describes the formats, and what is done to them."
        )
    )(replay)
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm fit trades.csv --step 1 --out fitted.toml --html fitted.html\n\n"
            "  mcmm fit trades.csv --quotes quotes.csv --contract KXFED-25DEC-T3.75 --base maker.toml\n\n"
            "  mcmm fit quotes.csv --column time=timestamp_ms --column mid=kalshi_mid --step 1800\n\n"
            "docs/recorded.md names the methods, and what a tape does not tell."
        )
    )(fit)


def replay(
    tape: TapeArgument,
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="The maker and its limits.")],
    quotes: QuotesOption = None,
    step: StepOption = None,
    capture: CaptureOption = 1.0,
    merge: MergeOption = False,
    contract: ContractOption = None,
    outcomes: OutcomesOption = None,
    column: ColumnOption = None,
    form: FormatOption = None,
    account: AccountOption = Account.taker,
    seed: Annotated[
        int, typer.Option("--seed", "-s", metavar="S", help="Of the outcomes that the tape does not know.")
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write a row a contract: FILE.parquet or FILE.csv."),
    ] = None,
    trace: Annotated[
        int,
        typer.Option(
            "--trace", metavar="K", help="Write every step of the first K contracts to FILE.trace.*"
        ),
    ] = 0,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the replay as one page.")
    ] = None,
    policy: PolicyOption = None,
) -> None:
    """Run a maker's settings through a recorded market, a path a contract.

    A print fills a quote that is at or better than its price, as if the maker had been first in the queue and
    nobody had minded its quotes: --capture takes some of that back. The metrics are a simulation's.
    """
    from mcmm.recorded import replay as run_replay
    from mcmm.scenario import Scenario

    chosen = Scenario.load(scenario)
    if settings:
        chosen = chosen.replace(parse_settings(settings))
    if not 0 <= seed < 2**64:
        raise InputError(f"--seed: must be >= 0 and < 2**64, got {seed}")
    if trace < 0:
        raise InputError(f"--trace: must be >= 0, got {trace}")
    if trace and out is None:
        raise InputError("--trace: needs --out, beside which the steps are written")
    trace_out = None if out is None or not trace else out.with_suffix(f".trace{out.suffix}")
    for path in (out, trace_out):
        if path is not None:
            check_output(path, suffixes=(".parquet", ".csv"))
    if html is not None:
        check_output(html)
    read = open_tape(tape, quotes, outcomes, column, form, account)
    try:
        with ProgressBar("replaying") as progress:
            run = run_replay(
                read,
                chosen,
                step=step,
                capture=capture,
                merge=merge,
                contracts=contract or None,
                seed=seed,
                traces=trace,
                policy=policy,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    from rich.console import Console

    from mcmm.reports.one_run import print_simulation

    print_simulation(run.simulation, Console())
    if out is not None:
        run.simulation.save(out)
    if trace_out is not None:
        write_frame(run.trace, trace_out)
    if html is not None:
        from mcmm.reports.replay_page import write_replay_page

        write_replay_page(read, run, html, policy)
    if sys.stderr.isatty():
        events = run.simulation.provenance["replay"]["events_per_second"]
        typer.echo(f"{events:,.0f} prints a second in the core", err=True)
    for path in (out, trace_out, html):
        if path is not None:
            typer.echo(f"wrote {path}")


def fit(
    tape: TapeArgument,
    quotes: QuotesOption = None,
    step: Annotated[
        float, typer.Option("--step", metavar="SECONDS", help="Length of a step of the scenario.")
    ] = 1.0,
    contract: ContractOption = None,
    sizes: Annotated[
        Sizes, typer.Option("--sizes", help="The law of sizes; auto takes the simplest that fits.")
    ] = Sizes.auto,
    informed: Annotated[
        float | None,
        typer.Option("--informed", metavar="SHARE", help="The assumed share of takers who are informed."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="SCENARIO.toml", help="Has the maker, and what a tape does not tell."),
    ] = None,
    horizon: Annotated[
        list[float] | None,
        typer.Option("--horizon", metavar="SECONDS", help="Mark prints out after so long; may be repeated."),
    ] = None,
    outcomes: OutcomesOption = None,
    column: ColumnOption = None,
    form: FormatOption = None,
    account: AccountOption = Account.taker,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.toml", help="Write the scenario; else it is printed."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page: simulated against recorded."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", "-s", metavar="S", help="Of the simulated market on the page.")
    ] = 0,
) -> None:
    """Estimate flow and market settings from a recorded market, each with its error and how well it fits.

    Prints the estimates and what the tape does not tell, and writes a scenario in which each setting says
    where it comes from.
    """
    from mcmm.fitting import HORIZONS
    from mcmm.fitting import fit as run_fit
    from mcmm.scenario import Scenario

    if not 0 <= seed < 2**64:
        raise InputError(f"--seed: must be >= 0 and < 2**64, got {seed}")
    if out is not None:
        check_output(out, suffixes=(".toml",))
    if html is not None:
        check_output(html)
    read = open_tape(tape, quotes, outcomes, column, form, account)
    try:
        found = run_fit(
            read,
            step=step,
            contracts=contract or None,
            sizes=sizes.value,
            informed=informed,
            horizons=tuple(horizon) if horizon else HORIZONS,
            base=None if base is None else Scenario.load(base),
        )
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    from rich.console import Console

    from mcmm.files import write_whole
    from mcmm.reports.fit_page import print_fit, write_fit_page

    # Data goes to stdout: where the scenario does, the account of it goes beside.
    print_fit(found, Console(stderr=out is None))
    if out is None:
        typer.echo(found.dumps(), nl=False)
    else:
        write_whole(out, found.dumps().encode())
        typer.echo(f"wrote {out}")
    if html is not None:
        write_fit_page(found, html, seed)
        typer.echo(f"wrote {html}", err=out is None)


def open_tape(
    tape: Path,
    quotes: Path | None,
    outcomes: Path | None,
    columns: Sequence[str] | None,
    form: str | None,
    account: Account,
) -> Tape:
    """Read the tape that a command's options describe."""
    from mcmm.tape import read_outcomes, read_tape

    named = {}
    for pair in columns or ():
        name, equals, own = (part.strip() for part in pair.partition("="))
        if not (name and equals and own):
            raise InputError(f"--column: must be NAME=OWN, as time=timestamp_ms, got {pair!r}")
        named[name] = own
    settled = None if outcomes is None else read_outcomes(outcomes)
    return read_tape(tape, quotes=quotes, form=form, columns=named, outcomes=settled, account=account.value)
