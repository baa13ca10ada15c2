"""The command that runs a bot."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcmm.arguments import PolicyOption, parse_settings, read_orders
from mcmm.console import Interrupted, print_error
from mcmm.errors import InputError
from mcmm.recorded_commands import (
    Account,
    AccountOption,
    CaptureOption,
    ColumnOption,
    FormatOption,
    MergeOption,
    OutcomesOption,
    QuotesOption,
    StepOption,
    open_tape,
)

if TYPE_CHECKING:
    from mcmm.scenario import Scenario
    from mcmm.session import Given, Session
    from mcmm.tape import RecordedPath, Tape

__all__ = ["add_to"]


class Feed(StrEnum):
    """Where a bot's takers come from."""

    simulated = "simulated"
    stdin = "stdin"


class Log(StrEnum):
    """How the time series and the summary are written."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm bot scenarios/kalshi_macro.toml --pace 20\n\n"
            "  mcmm bot scenarios/kalshi_macro.toml --seed 7 --path 12 --log parquet --out bots/twelve\n\n"
            "  mcmm bot maker.toml --tape trades.csv --contract KXFED-25DEC-T3.75 --pace 10\n\n"
            "  mcmm bot maker.toml --feed stdin --out bots/paper < orders.jsonl > quotes.jsonl\n\n"
            "  mcmm bot --resume --out bots/paper\n\n"
            "With --feed stdin each line is a step: "
            '{"seq": 0, "side": "buy", "size": 3, "limit": 0.53}, or {"seq": 1} where nobody came; '
            "the answers are lines too: ready, quote, fill, ack. It holds no keys of any venue and sends "
            "nothing anywhere.\n\n"
            "Stopped by Ctrl-C or SIGTERM it leaves a snapshot; killed outright it loses nothing that it "
            "acknowledged. docs/bot.md tells more, docs/snapshots.md what is on disk, docs/risk.md what "
            "stops it."
        )
    )(bot)


def bot(
    scenario: Annotated[
        Path | None,
        typer.Argument(metavar="SCENARIO.toml", help="The markets and the maker; with --resume not needed."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The run's directory; bots/SCENARIO if not given."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", "-s", metavar="S", help="Of the random streams.")] = 0,
    path: Annotated[
        int, typer.Option("--path", metavar="I", help="Which path: it is path I of simulate, bit for bit.")
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting, as risk.mark; may be repeated."),
    ] = None,
    feed: Annotated[
        Feed, typer.Option("--feed", help="Takers of the scenario's streams, or JSON lines on stdin.")
    ] = Feed.simulated,
    orders: Annotated[
        Path | None,
        typer.Option(
            "--orders",
            metavar="FILE",
            help="Recorded takers, as for simulate: step, side, size, [limit], [fair].",
        ),
    ] = None,
    tape: Annotated[
        Path | None,
        typer.Option("--tape", metavar="TAPE", help="A recorded market, as for replay; one contract of it."),
    ] = None,
    contract: Annotated[
        str | None,
        typer.Option("--contract", metavar="NAME", help="Which; needed where the tape has several."),
    ] = None,
    quotes: QuotesOption = None,
    step: StepOption = None,
    capture: CaptureOption = 1.0,
    merge: MergeOption = False,
    outcomes: OutcomesOption = None,
    column: ColumnOption = None,
    form: FormatOption = None,
    account: AccountOption = Account.taker,
    pace: Annotated[
        float, typer.Option("--pace", metavar="N", help="Steps a second; 0 is as fast as it goes.")
    ] = 0.0,
    lines: Annotated[
        bool, typer.Option("--lines", help="Write quotes and fills to stdout as JSON lines.")
    ] = False,
    orders_only: Annotated[
        bool,
        typer.Option(
            "--orders-only",
            help="Dry paper trading: write the orders it would send (place, cancel); none is sent.",
        ),
    ] = False,
    every: Annotated[int, typer.Option("--every", metavar="N", help="Steps between two snapshots.")] = 1000,
    keep: Annotated[int, typer.Option("--keep", metavar="K", help="Snapshots to keep.")] = 3,
    log: Annotated[Log, typer.Option("--log", help="Format of the trace and the summary.")] = Log.jsonl,
    policy: PolicyOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in DIR, quoting wide at first (recovery)."),
    ] = False,
    reset_breaker: Annotated[
        bool,
        typer.Option("--reset-breaker", help="With --resume: clear halts and pauses. Nothing else does."),
    ] = False,
) -> None:
    """Run the bot itself, quote by quote, on the rules that simulate and sweep run.

    In simulated time, as fast as it goes or at a pace, under a live view; or driven by JSON lines on stdin.
    Trace, summary, journal and snapshots go to the run's directory.
    """
    import asyncio

    from mcmm.session import Session

    if not pace >= 0 or (pace and feed == Feed.stdin):
        raise InputError(f"--pace: must be >= 0, and left out with --feed stdin, got {pace:g}")
    if every < 1:
        raise InputError(f"--every: must be >= 1, got {every}")
    if keep < 1:
        raise InputError(f"--keep: must be >= 1, got {keep}")
    if reset_breaker and not resume:
        raise InputError("--reset-breaker: needs --resume")
    if (orders is not None) + (tape is not None) + (feed == Feed.stdin) > 1:
        raise InputError("--orders, --tape, --feed stdin: at most one of them says who the takers are")
    of_tape = {
        "--contract": contract,
        "--quotes": quotes,
        "--step": step,
        "--capture": capture if capture != 1.0 else None,
        "--merge": merge or None,
        "--outcomes": outcomes,
        "--column": column or None,
        "--format": form,
        "--account": account if account != Account.taker else None,
    }
    if tape is None and (alone := [name for name, value in of_tape.items() if value is not None]):
        raise InputError(f"{', '.join(alone)}: must be left out without --tape")
    changes = parse_settings(settings or [])
    directory = out if out is not None else Path("bots") / scenario.stem if scenario is not None else None
    if directory is None:
        raise InputError("SCENARIO.toml: must be given, or --resume with the --out of a run")
    chosen: dict[str, Any] = {
        "seed": seed,
        "path": path,
        "feed": feed.value,
        "form": log.value,
        "policy": policy,
    }
    recorded = None
    if tape is not None:
        read = open_tape(tape, quotes, outcomes, column, form, account)
        for note in read.notes:
            _tell(note)
        recorded = _cut(read, contract, step, capture, merge)
    given = _given(scenario, directory, changes, orders, recorded, chosen, resume)
    speaks = given.feed == "stdin" or lines or orders_only
    if given.feed == "stdin":
        _warn_of_fair(given)
    with Session(
        directory, given, resume=resume, reset_breakers=reset_breaker, keep=keep, tell=_tell
    ) as session:
        stopped = asyncio.run(_run(session, speaks, orders_only, every, pace))
        step, done = session.bot.step, session.bot.done
        if not speaks:
            _print_summary(session)
    if stopped:
        raise Interrupted(f"{stopped} after {step:,} steps, kept in {directory}; --resume goes on")
    if not done:
        print_error(f"the feed ended after {step:,} steps; --resume goes on", kind="note")
    if not speaks:
        typer.echo(f"wrote {directory}")


def _given(
    scenario: Path | None,
    directory: Path,
    changes: dict[str, Any],
    orders: Path | None,
    path: RecordedPath | None,
    chosen: dict[str, Any],
    resume: bool,
) -> Given:
    """Return what the run is given: by the command, or by the run that is to be resumed."""
    from mcmm.scenario import Scenario
    from mcmm.session import Given, read_given

    there = read_given(directory) if resume else None
    if scenario is None:
        if there is None:
            why = f": {directory} holds no run to resume" if resume else ", but for --resume"
            raise InputError(f"SCENARIO.toml: must be given{why}")
        if changes or orders is not None or path is not None:
            raise InputError("--set, --orders, --tape: must be left out where the run says what it was given")
        run = there["run"]
        for name in ("seed", "path", "feed"):
            # What was not given is at its default.
            if chosen[name] not in (0, "simulated", run[name]):
                raise InputError(f"--{name}: must be the run's ({run[name]}), got {chosen[name]}")
        known = {"seed": run["seed"], "path": run["path"], "feed": run["feed"]}
        kept = directory / "orders.parquet"
        recorded = read_orders(kept) if run["orders"] else None
        return Given(
            Scenario.from_dict(there["scenario"]),
            **known,
            orders=recorded,
            policy=chosen["policy"] or there["policy"],
            form=there["log"],
        )
    loaded = Scenario.load(scenario)
    if changes:
        loaded = loaded.replace(changes)
    recorded = None if orders is None else read_orders(orders)
    if path is not None:
        from mcmm.recorded import maker_of

        loaded, recorded = path.scenario(maker_of(loaded)), path.orders
    if recorded is not None:
        chosen["feed"] = "recorded"
    if chosen["feed"] == "stdin":
        loaded = _without_noise(loaded)
    return Given(loaded, **chosen, orders=recorded)


def _without_noise(scenario: Scenario) -> Scenario:
    """Return a scenario whose reference price is the fair value that the feed tells, as in a replay."""
    name = "quoting.reference_noise"
    if not any(market.quoting.reference_noise for market in scenario.by_market().values()):
        return scenario
    _warn(f"{name}: taken for 0, the reference price is the fair value that the feed tells")
    return scenario.replace({**{f"markets.{each}.{name}": None for each in scenario.market_names}, name: 0.0})


def _cut(tape: Tape, contract: str | None, step: float | None, capture: float, merge: bool) -> RecordedPath:
    """Return the path of the contract that is asked for, or the only one."""
    names = list(tape.contracts.index)
    if contract is None and len(names) != 1:
        raise InputError(f"--contract: must name one of the tape's {tape.listed}")
    return tape.cut(contract or names[0], step=step, capture=capture, merge=merge)


def _warn_of_fair(given: Given) -> None:
    """Say which settings need a fair value that only the feed knows."""
    for name, market in given.scenario.by_market().items():
        where = f"markets.{name}." if name else ""
        risk = market.risk
        if risk.mark == "fair":
            _warn(f"{where}risk.mark fair: marks at the fair value that the feed tells (fair)")
        if risk.breaker_action == "flatten":
            _warn(
                f"{where}risk.breaker_action flatten: books the closing at the fair value that the feed tells"
            )
        if market.recovery.disconnect_rate:
            _warn(f"{where}recovery.disconnect_rate: not used, the feed says when the connection is lost")


def _tell(line: str) -> None:
    print_error(line, kind="note")


def _warn(line: str) -> None:
    print_error(line, kind="warning")


async def _run(session: Session, speaks: bool, orders_only: bool, every: int, pace: float) -> str:
    """Run it, with its view if there is a terminal for one."""
    from mcmm import feeds
    from mcmm.live import Live, Output

    bot = session.bot
    handle = sys.stdin.fileno() if bot.outside else -1
    feed = (
        feeds.json_lines(handle, bot.makers)
        if bot.outside
        else feeds.steps(bot.step, bot.scenario.steps, pace)
    )
    output = Output(sys.stdout.fileno()) if speaks else None
    options: dict[str, Any] = {
        "orders_only": orders_only,
        "every": every,
        "patient": not bot.outside and not pace,
    }
    try:
        if not sys.stderr.isatty():
            return await Live(session, feed, output, **options, tell=_tell).run()
        from rich.console import Console
        from rich.live import Live as Screen

        from mcmm.bot_view import view

        console = Console(stderr=True)
        with Screen(console=console, auto_refresh=False, transient=False) as screen:
            live = Live(
                session,
                feed,
                output,
                **options,
                show=lambda shown: screen.update(view(shown), refresh=True),
                tell=lambda line: console.print(line, style="yellow", markup=False),
            )
            return await live.run()
    finally:
        if output is not None:
            output.close()


def _print_summary(session: Session) -> None:
    """Print what the path reports, so far."""
    from mcmm.metrics import HALT_REASONS

    bot = session.bot
    found = bot.metrics()
    typer.echo(f"{'steps':<24}{bot.step:,} of {bot.scenario.steps:,}")
    for name, value in found.items():
        if value == value and (not bot.scenario.markets or "." not in name):
            shown = HALT_REASONS[int(value)] if name == "halt_reason" else f"{value:,.6g}"
            typer.echo(f"{name:<24}{shown}")
    for name, state in bot.states.items() if bot.scenario.markets else ():
        typer.echo(f"{name:<24}pnl {state.pnl:+,.2f}, inventory {state.inventory:+d}, fills {state.fills:,}")
