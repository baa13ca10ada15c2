"""The page's figures as PNG files, drawn by a headless Chromium or Chrome: nothing else is needed."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mcmm.errors import InputError
from mcmm.files import write_whole

if TYPE_CHECKING:
    from mcmm.reports.details import Details

__all__ = ["browser_command", "write_pictures"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VARIABLE = "MCMM_BROWSER"
FLAGS = (
    *("--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=120000",),
)
#: Seconds after which the browser is given up.
PATIENCE = 180


def write_pictures(details: Details, folder: str | os.PathLike[str], *, scale: int = 2) -> list[Path]:
    """Write each of the page's figures as a PNG file, as it is when the page opens.

    Parameters
    ----------
    details : Details
        The sweep and what it says.
    folder : str or path
        Where to; made if it is not there. Files are named as the figures, such as ``map.png``.
    scale : int
        Pixels of the file to one of the page; a picture is 1,100 of the page's wide.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        No browser is at hand, it fails, or a file cannot be written.
    """
    from mcmm.reports.page import page

    browser = _browser()
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be made: {error.strerror or error}") from None
    with tempfile.TemporaryDirectory(prefix="mcmm-png-") as place:
        file = Path(place) / "report.html"
        file.write_text(page(details.findings, details, pictures=scale), encoding="utf-8")
        command = browser_command(place, "--window-size=1240,1000", "--dump-dom", file.as_uri())
        try:
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{browser}: cannot draw the figures: {error}") from None
    found = re.search(rb'<pre id="pictures">(.*?)</pre>', done.stdout, re.DOTALL)
    if found is None:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise InputError(f"{browser}: did not draw the figures (exit code {done.returncode}: {last[0]})")
    written = []
    for name, picture in json.loads(found[1]).items():
        path = target / f"{name}.png"
        write_whole(path, base64.b64decode(picture.partition(",")[2]), durable=False)
        written.append(path)
    return written


def browser_command(place: str, *arguments: str) -> list[str]:
    """Return the command line of a headless browser with its profile in a folder.

    Parameters
    ----------
    place : str
        The folder.
    *arguments : str
        What follows the flags that every use needs.

    Raises
    ------
    InputError
        No browser is at hand.
    """
    # Chromium's own sandbox cannot be set up by root.
    root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    return [_browser(), *FLAGS, *root, f"--user-data-dir={place}/profile", *arguments]


def _browser() -> str:
    chosen = os.environ.get(VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise InputError(f"{VARIABLE}: must be a browser's program, got {chosen!r}")
        return found
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise InputError(
            f"png: needs Chromium or Chrome to draw the figures, and none of {', '.join(BROWSERS)} is on the "
            f"PATH; install one, or name its program in {VARIABLE}"
        )
    return found
