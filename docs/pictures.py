"""Draw the pictures of docs/reports.md and the README again: `python docs/pictures.py`, from the root.

Runs two shipped studies into runs/, or takes them from there, and needs Chromium or Chrome. The studies'
numbers are the same bits everywhere; pictures differ by the browser and its fonts.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import mcmm
from mcmm.reports import details_of
from mcmm.reports.page import write_page
from mcmm.reports.png import browser_command, write_pictures

IMAGES = Path(__file__).parent / "images"
#: Which figures come from which study; the quickstart has no breaker, and so no overshoot.
FIGURES = {
    "quickstart": (
        *(
            "histogram",
            "ecdf",
            "multiples",
            "map",
            "tradeoff",
            "attribution",
            "fan",
            "trace",
            "drivers",
            "limits",
        ),
    ),
    "breaker_policy": ("bound", "overshoot"),
}


def main() -> None:
    """Draw every picture."""
    IMAGES.mkdir(exist_ok=True)
    for name, figures in FIGURES.items():
        study = mcmm.Study.load(Path("sweeps") / f"{name}.toml")
        details = details_of(mcmm.sweep(study, out=Path("runs") / name))
        with tempfile.TemporaryDirectory() as place:
            for picture in write_pictures(details, place, scale=1):
                if picture.stem in figures:
                    shutil.copy(picture, IMAGES / picture.name)
            if name == "quickstart":
                page = Path(place) / "report.html"
                write_page(details.findings, page, details)
                shot = [
                    f"--screenshot={IMAGES / 'report.png'}",
                    "--window-size=1040,1180",
                    "--hide-scrollbars",
                ]
                subprocess.run(browser_command(place, *shot, page.as_uri()), check=True, capture_output=True)


if __name__ == "__main__":
    main()
