"""The ``mcmm`` command.

Each command imports what it needs when it runs, so that ``mcmm --help`` is quick. Data goes to stdout or to
files, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 3 infeasible and 4 undecided
(calibrate), 130 interrupted, by Ctrl-C or SIGTERM. The commands about sweeps are in `mcmm.sweep_commands`,
that about limits in `mcmm.calibrate_commands`, report in `mcmm.report_command`, bot in `mcmm.bot_commands`,
those about recorded markets in `mcmm.recorded_commands`.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mcmm import (
    __version__,
    bot_commands,
    calibrate_commands,
    recorded_commands,
    report_command,
    sweep_commands,
)
from mcmm.arguments import (
    JobsOption,
    PolicyOption,
    check_jobs,
    check_output,
    check_paths,
    parse_settings,
    read_orders,
    write_frame,
)
from mcmm.console import Interrupted, ProgressBar, duration, print_error, rate
from mcmm.errors import InputError, MCMMError

__all__ = ["app", "main"]

if TYPE_CHECKING:
    from mcmm.simulation import Simulation

app = typer.Typer(
    name="mcmm",
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Monte Carlo simulation of a market maker in binary event contracts.",
    epilog=(
        "A first run, from the project's folder:\n\n"
        "  mcmm sweep sweeps/quickstart.toml\n\n"
        "  mcmm simulate scenarios/kalshi_macro.toml --paths 20000 --seed 7"
    ),
)

# Every complaint of typer about the command line derives from this class, whichever click it is built on.
_USAGE_ERROR: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def _show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"mcmm {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _mcmm(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


sweep_commands.add_to(app)
calibrate_commands.add_to(app)
report_command.add_to(app)
bot_commands.add_to(app)
recorded_commands.add_to(app)


@app.command(
    epilog=(
        "Examples:\n\n"
        "  mcmm simulate scenarios/kalshi_macro.toml --paths 100000 --seed 7\n\n"
        "  mcmm simulate maker.toml --set quoting.base_spread=0.06 --set steps=500\n\n"
        "  mcmm simulate maker.toml --out paths.parquet --trace 3\n\n"
        "  mcmm simulate maker.toml --orders tape.csv --paths 1"
    )
)
def simulate(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="The market and the maker.")],
    paths: Annotated[int, typer.Option("--paths", "-n", metavar="N", help="Independent paths.")] = 10_000,
    seed: Annotated[
        int, typer.Option("--seed", "-s", metavar="S", help="Path i of a seed is the same in every run.")
    ] = 0,
    first_path: Annotated[
        int,
        typer.Option("--first-path", metavar="I", help="The first path's number; continues an earlier run."),
    ] = 0,
    jobs: JobsOption = -1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting, as risk.mark or markets.NAME.risk.mark; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write a row per path: FILE.parquet or FILE.csv."),
    ] = None,
    trace: Annotated[
        int,
        typer.Option(
            "--trace", metavar="K", help="Write every step of the first K paths too, to FILE.trace.*"
        ),
    ] = 0,
    orders: Annotated[
        Path | None,
        typer.Option(
            "--orders",
            metavar="FILE",
            help="Replay these taker orders: CSV or Parquet, step, side, size, [limit], [fair], [market].",
        ),
    ] = None,
    tape_out: Annotated[
        Path | None,
        typer.Option(
            "--tape",
            metavar="FILE.csv",
            help="Write the fills and quotes of the traced paths as a plain tape.",
        ),
    ] = None,
    policy: PolicyOption = None,
) -> None:
    """Simulate independent paths of one scenario and print what they earn and risk.

    Path i depends on the scenario, the seed and i alone: not on --paths, --jobs or the machine. Two scenarios
    with one seed face the same market, so their difference is far better known than either.
    """
    from mcmm.engine import simulate as run_simulation
    from mcmm.scenario import Scenario

    chosen = Scenario.load(scenario)
    if settings:
        chosen = chosen.replace(parse_settings(settings))
    check_jobs(jobs)
    check_paths(paths, saved=out is not None, numbers=len(chosen.columns))
    if trace < 0:
        raise InputError(f"--trace: must be >= 0, got {trace}")
    if not 0 <= seed < 2**64:
        raise InputError(f"--seed: must be >= 0 and < 2**64, got {seed}")
    if not 0 <= first_path <= 2**48 - paths:
        raise InputError(f"--first-path: must be >= 0 and <= 2**48 - paths, got {first_path}")
    if trace > paths:
        raise InputError(f"--trace: must be <= the number of paths ({paths}), got {trace}")
    if trace and out is None and tape_out is None:
        raise InputError("--trace: needs --out, beside which the steps are written")
    if tape_out is not None:
        if not trace:
            raise InputError("--tape: needs --trace K, the paths that it is of")
        check_output(tape_out, suffixes=(".csv",))
    trace_out = None if out is None or not trace else out.with_suffix(f".trace{out.suffix}")
    for path in (out, trace_out):
        if path is not None:
            check_output(path, suffixes=(".parquet", ".csv"))
    tape = None if orders is None else read_orders(orders)

    started = time.perf_counter()
    try:
        with ProgressBar("simulating", chosen.steps * chosen.market_count) as progress:
            run = run_simulation(
                chosen,
                paths=paths,
                seed=seed,
                first_path=first_path,
                jobs=jobs,
                trace_paths=trace,
                orders=tape,
                policy=policy,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    seconds = time.perf_counter() - started
    # Printed first: what was simulated is not lost if it cannot be saved.
    _print_simulation(run)
    if out is not None:
        run.save(out)
    if trace_out is not None:
        write_frame(run.trace, trace_out)
    tapes: tuple[Path, ...] = ()
    if tape_out is not None:
        from mcmm.tape_writing import tape_of, write_tape

        tapes = write_tape(tape_of(run), tape_out)
    if sys.stderr.isatty():
        speed = rate(run.values.shape[1] * chosen.steps * chosen.market_count / seconds)
        typer.echo(f"{duration(seconds)}, {speed}", err=True)
    for path in (out, trace_out, *tapes):
        if path is not None:
            typer.echo(f"wrote {path}")


@app.command(
    epilog=(
        "Example:\n\n"
        "  mcmm schema > scenario.schema.json\n\n"
        "An editor completes and checks a scenario whose first line is: #:schema ./scenario.schema.json"
    )
)
def schema() -> None:
    """Print the JSON schema of a scenario file, for editors that complete and check TOML."""
    import json

    from mcmm.scenario import Scenario

    typer.echo(json.dumps(Scenario.json_schema(), indent=2))


@app.command(epilog="Example:\n\n  MCMM_ISA=avx2 mcmm info")
def info() -> None:
    """Print the version, the instruction set in use, the cores, and how fast they run in a two-second check.

    MCMM_ISA=baseline, avx2 or avx512 chooses another of the builds; the results are the same bits.
    """
    import os
    import platform

    from mcmm.engine import core_builds, core_info

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    lines: dict[str, Any] = {"mcmm": __version__, "builds": ", ".join(core_builds())}
    lines |= {key.replace("_", " "): value for key, value in core_info().items()}
    lines |= {"python": platform.python_version(), "machine": platform.machine(), "cores": cores}
    for key, value in lines.items():
        typer.echo(f"{key:<18}{value}")
    for workers in sorted({1, cores}):
        speed = measure_throughput(workers, seconds=1.0 if cores > 1 else 2.0)
        typer.echo(f"{f'{workers} core' + 's' * (workers > 1):<18}{rate(speed)} of the default scenario")


def measure_throughput(workers: int, seconds: float) -> float:
    """Measure the core's speed on the default scenario.

    Parameters
    ----------
    workers : int
        Threads that run it side by side.
    seconds : float
        How long to measure, at least.

    Returns
    -------
    float
        Path-steps in a second, of all threads together.
    """
    from concurrent.futures import ThreadPoolExecutor

    from mcmm.engine import run_rows
    from mcmm.scenario import Scenario

    scenario = Scenario()
    paths = 2_048
    run_rows(scenario, 0, 0, paths)

    def work(deadline: float) -> int:
        done = 0
        while time.perf_counter() < deadline:
            run_rows(scenario, 0, done, paths)
            done += paths
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        done = sum(pool.map(work, [started + seconds] * workers))
    return done * scenario.steps / (time.perf_counter() - started)


def _print_simulation(run: Simulation) -> None:
    """Print one simulation's summary."""
    from rich.console import Console

    from mcmm.reports.one_run import print_simulation

    print_simulation(run, Console())


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code that gave it."""
    print_error(" ".join(str(message).split()), kind="warning")


class _Lines(logging.Handler):
    """Shows what mcmm's modules log, as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        print_error(" ".join(record.getMessage().split()), kind=record.levelname.lower())


@contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM end a command as Ctrl-C does: workers in order, with a word of what is kept."""
    try:
        asked_for = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if asked_for:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:
        asked_for = False  # not the main thread: whoever runs it ends it
    try:
        yield
    finally:
        if asked_for:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _usage(error: Exception) -> str:
    """Return what is wrong with the command line, and the value given where typer leaves it out."""
    text = str(error.format_message()).replace(": Value error, ", ": ")  # type: ignore[attr-defined]
    faults = getattr(error.__context__, "errors", None)  # pydantic's, by which typer converts since 0.29
    given = faults()[0]["input"] if callable(faults) else None
    return text if given is None or repr(given) in text else f"{text}, got {given!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Its arguments; those of this process if not given.

    Returns
    -------
    int
        The exit code.
    """
    command = typer.main.get_command(app)
    logger, lines = logging.getLogger("mcmm"), _Lines(logging.WARNING)
    logger.addHandler(lines)
    try:
        with warnings.catch_warnings(), _terminable():
            warnings.showwarning = _print_warning
            status = command.main(
                None if arguments is None else list(arguments), prog_name="mcmm", standalone_mode=False
            )
        # What typer, since 0.16, makes of Ctrl-C; before that it was Abort.
        if status == 130:
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except MCMMError as error:
        print_error(str(error))
        return 2
    except _USAGE_ERROR as error:
        print_error(f"{_usage(error)} (--help tells more)")
        return 2
    except Interrupted as error:
        print_error(str(error), kind="interrupted")
        return 130
    except (KeyboardInterrupt, typer.Abort):
        print_error("before it was done", kind="interrupted")
        return 130
    except OSError as error:
        # A file of the user's is named where it is opened; of standard output nobody knows a name.
        full = error.errno == errno.ENOSPC and error.filename is None
        print_error(f"standard output: cannot be written: {error.strerror}" if full else str(error))
        return 1
    except MemoryError:
        print_error("out of memory; ask for fewer paths at a time")
        return 1
    finally:
        logger.removeHandler(lines)
