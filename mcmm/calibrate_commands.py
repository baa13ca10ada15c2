"""The command that sets limits: calibrate, and the check of what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcmm.arguments import JobsOption, check_jobs, check_output
from mcmm.console import Interrupted, ProgressBar, print_error
from mcmm.errors import InputError

__all__ = ["EXIT_CODES", "add_to", "verify_certificate"]

EXIT_CODES = {"certified": 0, "infeasible": 3, "undecided": 4}
"""The command's exit codes by verdict."""


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm calibrate sweeps/calibrate_drawdown.toml\n\n"
            "  mcmm calibrate limits.toml --out limits.json --jobs 4\n\n"
            "  mcmm verify runs/calibrate_drawdown/certificate.json\n\n"
            "docs/calibration.md says what a certificate is worth, and what it is not."
        )
    )(calibrate)


def calibrate(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="A study with a [calibrate] table.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The certificate; runs/STUDY/certificate.json if not given."
        ),
    ] = None,
    jobs: JobsOption = -1,
) -> None:
    """Find the best settings under constraints, and certify them on paths that the search never saw.

    Prints the answer with its evidence and writes a certificate, which `mcmm verify` computes again, and a
    page of it beside. Exit code 0: certified; 3: infeasible, with the least violated setting; 4: undecided,
    with how many more paths it would likely take.
    """
    from rich.console import Console

    from mcmm.calibration import calibrate as run_calibration
    from mcmm.reports.certificate_page import write_certificate_page
    from mcmm.reports.certified import print_certificate
    from mcmm.study import Study

    loaded = Study.load(study)
    check_jobs(jobs)
    path = out if out is not None else Path("runs") / study.stem / "certificate.json"
    if out is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    check_output(path, suffixes=(".json",))
    check_output(path.with_suffix(".html"))
    try:
        with ProgressBar("calibrating") as progress:
            certificate = run_calibration(loaded, jobs=jobs, progress=progress.tell)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    print_certificate(certificate, Console())
    certificate.save(path)
    page = path.with_suffix(".html")
    write_certificate_page(certificate, page)
    typer.echo(f"wrote {path} and {page}")
    if code := EXIT_CODES[certificate.verdict]:
        raise typer.Exit(code)


def verify_certificate(path: Path, jobs: int) -> None:
    """Compute a certificate again and say whether every number is the same; exit code 1 if one is not."""
    from mcmm.calibration import recompute

    with ProgressBar("verifying") as progress:
        found = recompute(path, jobs=jobs, progress=progress.tell)
    for line in found.differences[:20]:
        print_error(line)
    if len(found.differences) > 20:
        print_error(f"and {len(found.differences) - 20:,} more values differ")
    if not found.same:
        typer.echo(f"NOT the same: {len(found.differences):,} of {found.numbers:,} values of {path}")
        raise typer.Exit(1)
    typer.echo(f"the same: all {found.numbers:,} values of {path}")
