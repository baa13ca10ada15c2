"""The command that reports a stored run: report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcmm.arguments import PolicyOption, check_output
from mcmm.console import print_error
from mcmm.errors import InputError

if TYPE_CHECKING:
    from mcmm.store import SweepResult

__all__ = ["add_to", "report_with_page"]


class Format(StrEnum):
    """What a report is written as."""

    html = "html"
    json = "json"
    markdown = "markdown"


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm report runs/quickstart\n\n"
            "  mcmm report runs/quickstart --html ~/quickstart.html --png pictures\n\n"
            "  mcmm report runs/quickstart --format json > quickstart.json\n\n"
            "  mcmm report runs/quickstart --format markdown | gh pr comment --body-file -\n\n"
            "  mcmm report paths.parquet\n\n"
            "docs/reports.md explains how to read each part."
        )
    )(report)


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A sweep's run directory, or paths.parquet of a simulation.")
    ],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Where to write the page; RUN/report.html if not given."),
    ] = None,
    kind: Annotated[
        Format,
        typer.Option(
            "--format",
            "-f",
            help="html: print the report and write the page. json, markdown: print the same numbers.",
        ),
    ] = Format.html,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="DIR", help="Write the figures as PNG files too; needs Chromium."),
    ] = None,
    policy: PolicyOption = None,
) -> None:
    """Report a stored run again: in the terminal and, for a sweep, as one self-contained HTML page.

    The page simulates some points again, with the same bits, for what a run directory does not keep: every
    metric's distribution, fans over time, and what each limit costs.
    """
    if run.suffix == ".parquet" and not run.is_dir():
        from rich.console import Console

        from mcmm.reports.one_run import print_simulation
        from mcmm.simulation import Simulation

        for name, given in (("--html", html), ("--png", png)):
            if given is not None:
                raise InputError(f"{name}: there is a page for a sweep's run directory only")
        if kind is not Format.html:
            raise InputError("--format: a simulation is printed; its paths are in the file itself")
        print_simulation(Simulation.load(run), Console())
        return
    if run.is_file():
        raise InputError(
            f"{run}: must be a sweep's run directory, or a .parquet file of `mcmm simulate --out`"
        )
    from mcmm.store import SweepResult

    result = SweepResult.load(run, policy)
    # A policy that is missing, or not wanted, is refused here: the page is to be whole.
    result.study.quoted_by(policy)
    if kind is Format.html:
        report_with_page(result, run, html, png)
    else:
        if html is not None:
            raise InputError("--html: is for --format html, which is the default")
        from mcmm.reports import details_of
        from mcmm.reports.export import to_json, to_markdown

        details = details_of(result)
        if png is not None:
            from mcmm.reports.png import write_pictures

            write_pictures(details, png)
        typer.echo((to_json if kind is Format.json else to_markdown)(details), nl=False)
    if png is not None:
        typer.echo(f"wrote the figures to {png}", err=kind is not Format.html)


def report_with_page(
    result: SweepResult, directory: Path, html: Path | None = None, png: Path | None = None
) -> None:
    """Print a sweep's report, and write its page and say where, or why there is none.

    Parameters
    ----------
    result : SweepResult
        The sweep.
    directory : Path
        Its run directory.
    html : Path or None
        Where the page goes; None for the directory, unless there are more points than a page has room for.
    png : Path or None
        The folder for pictures.

    Raises
    ------
    InputError
        As `mcmm.reports.report`.
    """
    from mcmm.reports import report as make_report
    from mcmm.study import MANY_POINTS

    if html is None and result.study.count <= MANY_POINTS:
        html = directory / "report.html"
        try:
            check_output(html)
        except InputError as error:
            raise InputError(f"{error}; --html FILE of `mcmm report` writes it elsewhere") from None
    elif html is not None:
        check_output(html)
    make_report(result, html=html, png=png)
    if html is None:
        print_error(f"no page is written for more than {MANY_POINTS:,} points", kind="note")
    else:
        typer.echo(f"wrote {html}")
