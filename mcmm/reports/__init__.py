"""Reports of a sweep: in the terminal, as one self-contained page, for machines, and as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from rich.console import Console

    from mcmm.reports.details import Details
    from mcmm.runner import SweepResult

__all__ = ["details_of", "report"]


def report(
    result: SweepResult,
    html: str | os.PathLike[str] | None = None,
    *,
    json: str | os.PathLike[str] | None = None,
    markdown: str | os.PathLike[str] | None = None,
    png: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> None:
    """Print a sweep's report and, if asked, write it as one HTML page, for machines, or as pictures.

    Parameters
    ----------
    result : SweepResult
        A finished sweep, from :func:`mcmm.sweep` or ``SweepResult.load``. Without the policy of a study whose
        ``quoting.policy`` is custom, which ``load`` takes, its points are not simulated again, and what needs
        that is left out.
    html : str or path, optional
        File to write the page to. It holds all it needs, plotly's script too, and asks nothing of a network.
        A file that is there is replaced once the new one is whole.
    json, markdown : str or path, optional
        Files to write the same numbers to, for machines and for pull requests.
    png : str or path, optional
        Folder to write the page's figures to; needs Chromium or Chrome.
    console : rich.console.Console, optional
        Where to print; standard output by default.

    Raises
    ------
    InputError
        A file cannot be written, there is no browser to draw pictures, or a page or pictures are asked of
        more points than a page has room for (20,000).
    """
    from mcmm.directory import SUMMARY
    from mcmm.errors import InputError
    from mcmm.reports.terminal import print_report
    from mcmm.study import MANY_POINTS

    if not hasattr(result, "summary"):
        raise InputError(
            f"result: must be a SweepResult, as SweepResult.load returns, got {type(result).__name__}"
        )
    if result.study.count > MANY_POINTS and (html is not None or png is not None):
        raise InputError(
            f"html, png: a page has room for {MANY_POINTS:,} points, and this sweep has "
            f"{result.study.count:,}; {result.directory / SUMMARY} has a row for each"
        )

    if console is None:
        from rich.console import Console

        console = Console()
    details = details_of(result)
    # The files first: a reader of the table may close the pipe (`| head`) before its end.
    if html is not None:
        from mcmm.reports.page import write_page

        write_page(details.findings, html, details)
    if json is not None or markdown is not None:
        from pathlib import Path

        from mcmm.files import write_whole
        from mcmm.reports.export import to_json, to_markdown

        for path, written in ((json, to_json), (markdown, to_markdown)):
            if path is not None:
                write_whole(Path(path), written(details).encode(), durable=False)
    if png is not None:
        from mcmm.reports.png import write_pictures

        write_pictures(details, png)
    print_report(details.findings, console, details)


def details_of(result: SweepResult) -> Details:
    """Return what a report works out of a sweep, each part when it is first asked for; see `report`."""
    from mcmm.reports.details import Details
    from mcmm.reports.findings import Findings

    return Details(Findings.of(result))
