"""Reports of a sweep: a table in the terminal, and one self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from rich.console import Console

    from mcmm.runner import SweepResult

__all__ = ["report"]


def report(
    result: SweepResult, html: str | os.PathLike[str] | None = None, *, console: Console | None = None
) -> None:
    """Print a sweep's report and, if asked, write it as one HTML page.

    Parameters
    ----------
    result : SweepResult
        A finished sweep, from :func:`mcmm.sweep` or ``SweepResult.load``.
    html : str or path, optional
        File to write the page to. It holds all it needs, plotly's script too, and asks nothing of a network.
        A file that is there is replaced once the new one is whole.
    console : rich.console.Console, optional
        Where to print; standard output by default.

    Raises
    ------
    InputError
        The page cannot be written there.
    """
    from mcmm.reports.findings import Findings
    from mcmm.reports.terminal import print_report

    if console is None:
        from rich.console import Console

        console = Console()
    findings = Findings.of(result)
    # The page first: a reader of the table may close the pipe (`| head`) before its end.
    if html is not None:
        from mcmm.reports.page import write_page

        write_page(findings, html)
    print_report(findings, console)
