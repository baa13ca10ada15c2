"""The commands about sweeps: sweep, verify and runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcmm.arguments import JobsOption, PolicyOption, check_jobs
from mcmm.calibrate_commands import verify_certificate
from mcmm.console import Interrupted, ProgressBar, duration, print_error, rate, size
from mcmm.errors import InputError
from mcmm.report_command import report_with_page

if TYPE_CHECKING:
    from mcmm.study import Study

__all__ = ["add_to"]


class Backend(StrEnum):
    """Where a sweep's tasks run."""

    threading = "threading"
    loky = "loky"
    dask = "dask"
    ray = "ray"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm sweep sweeps/quickstart.toml\n\n"
            "  mcmm sweep sweeps/risk_limits.toml --out runs/limits --jobs 4\n\n"
            "  mcmm sweep sweeps/risk_limits.toml --dry-run\n\n"
            "  mcmm sweep sweeps/risk_limits.toml --backend dask --scheduler tcp://10.0.0.5:8786\n\n"
            "Interrupted or killed, it goes on where it was when it is run again. docs/sweeps.md tells more, "
            "docs/cluster.md how to use a cluster and whom to trust with one."
        )
    )(sweep)
    app.command(
        epilog=(
            "Examples:\n\n"
            "  mcmm verify runs/quickstart\n\n"
            "  mcmm verify runs/quickstart --all\n\n"
            "  MCMM_ISA=baseline mcmm verify runs/quickstart --cells 500 --seed 7\n\n"
            "  mcmm verify runs/calibrate_drawdown/certificate.json"
        )
    )(verify)
    app.command(epilog="Examples:\n\n  mcmm runs\n\n  mcmm runs ~/studies/runs")(runs)


def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What to sweep, over which points.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Run directory; runs/STUDY if not given."),
    ] = None,
    jobs: JobsOption = -1,
    backend: Annotated[
        Backend,
        typer.Option(
            "--backend",
            help="Threads (the core runs outside Python's lock), loky's processes, or a cluster: dask, ray.",
        ),
    ] = Backend.threading,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="ADDR", help="The cluster: tcp://HOST:8786 for dask, HOST:6379 for ray."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it will take (points, paths, time, disk) and end.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with what is there. It always does; the option is for scripts."),
    ] = False,
    policy: PolicyOption = None,
) -> None:
    """Run a study: every point of its design, streamed to a run directory, then reported.

    Prints the report, writes it as one page (report.html in the run directory) and says where. All points
    share the seed, so that they differ by their settings and not by luck. What is finished is on disk: run it
    again and it resumes.
    """
    from mcmm.runner import sweep as run_sweep
    from mcmm.study import Study

    loaded = Study.load(study)
    check_jobs(jobs)
    directory = out if out is not None else Path("runs") / study.stem
    if dry_run:
        _print_estimate(loaded.quoted_by(policy), directory, jobs)
        return
    progress = ProgressBar("sweeping")
    try:
        with progress:
            result = run_sweep(loaded, directory, jobs, backend.value, progress, scheduler, policy)
        report_with_page(result, directory)
    except KeyboardInterrupt:
        share = f"{progress.done / progress.total:.0%} done, " if progress.total else ""
        raise Interrupted(f"{share}kept in {directory}; run the same command again to resume") from None


def _print_estimate(study: Study, directory: Path, jobs: int) -> None:
    """Print what a sweep will take."""
    from mcmm.estimate import estimate

    found = estimate(study, directory, jobs)
    more = (
        ""
        if study.precision is None
        else f", up to {study.precision.totals[-1]:,} where the precision asks for it"
    )
    workers = f"{found.workers} worker{'s' * (found.workers > 1)}"
    speed = rate(found.path_steps_per_second)
    page = f", and {size(found.page_bytes)} or so for report.html" if found.page_bytes else ""
    lines = {
        "points": f"{found.points:,}",
        "paths": f"{found.paths:,} each{more}; {found.points * found.paths:,} in all",
        "path-steps": f"{found.path_steps:.4g}",
        "done": f"{found.done:.0%}, in {directory}" if found.done else f"nothing yet in {directory}",
        "time": f"{duration(found.seconds)} on {workers} of this machine, at {speed}, without the report",
        "disk": size(found.bytes) + page,
    }
    for name, text in lines.items():
        typer.echo(f"{name:<12}{text}")


def verify(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A sweep's run directory, finished or not, or the certificate.json of a calibration.",
        ),
    ],
    cells: Annotated[
        int, typer.Option("--cells", "-n", metavar="N", help="How many cells to choose at random.")
    ] = 100,
    every: Annotated[
        bool, typer.Option("--all", help="Every cell, the points, the whole summary and the sensitivities.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", "-s", metavar="S", help="Choose the same cells as another time.")
    ] = None,
    jobs: JobsOption = -1,
    policy: PolicyOption = None,
) -> None:
    """Compute cells of a stored run again and compare every bit; exit code 1 if one differs.

    A cell is one point's paths in one chunk. Says which builds and machines made the run and which one
    checked it. Of a certificate every number is computed again. Nothing is changed.
    """
    from mcmm.verification import verify as run_verify

    check_jobs(jobs)
    if run.suffix == ".json" and not run.is_dir():
        verify_certificate(run, jobs)
        return
    if cells < 1:
        raise InputError(f"--cells: must be >= 1, got {cells}")
    with ProgressBar("verifying", unit="cells") as progress:
        found = run_verify(
            run, None if every else cells, seed=seed, jobs=jobs, progress=progress, policy=policy
        )
    for name, builds in (("made by", found.made), ("checked by", (found.here,))):
        for build in builds:
            typer.echo(f"{name:<12}" + ", ".join(f"{key} {build[key]}" for key in found.here))
    for line in (*found.damaged, *found.differences[:20]):
        print_error(str(line))
    if len(found.differences) > 20:
        print_error(f"and {len(found.differences) - 20:,} more values differ")
    share = f"{found.checked:,} of {found.cells:,} cells" + ("" if every else f" (seed {found.seed})")
    if not found.same:
        typer.echo(f"{'result':<12}NOT the same: {share} of {run} were computed again")
        raise typer.Exit(1)
    typer.echo(f"{'result':<12}the same bits in {share} of {run}")


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to look.")] = Path("runs"),
) -> None:
    """List run directories and their state: finished, running, or how much of them is done."""
    from mcmm.listing import list_runs

    found = list_runs(folder)
    if not found:
        typer.echo(f"no run directories in {folder}")
        return
    table = [("run", "state", "study", "points", "paths", "begun", "took", "disk")]
    for each in found:
        state = each.state if each.state in ("finished", "unreadable") else f"{each.state}, {each.done:.0%}"
        known = each.state != "unreadable"
        paths = "precision" if each.paths is None else f"{each.paths:,}"
        table.append(
            (
                str(each.path),
                f"{state} ({each.note})" if each.note and known else state,
                " ".join(each.name.split()),
                f"{each.points:,}" if known else "",
                paths if known else "",
                each.started.replace("T", " ")[:16],
                duration(each.seconds) if each.seconds else "",
                size(each.bytes),
            )
        )
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for each in found:
        if each.state == "unreadable":
            print_error(f"{each.path}: {each.note}", kind="warning")
