"""What the command shows on a terminal: progress, speed, errors as one line each."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Interrupted", "ProgressBar", "duration", "print_error", "rate", "size"]

#: A run shorter than this shows no progress.
PATIENCE_SECONDS = 2.0


class Interrupted(Exception):
    """Ctrl-C, with what it leaves behind."""


def print_error(message: str, kind: str = "error") -> None:
    """Write a message to stderr, ``error: `` before each of its lines.

    Parameters
    ----------
    message : str
        What is wrong; each line stands by itself.
    kind : str
        The word before the colon.
    """
    for line in message.splitlines() or [""]:
        print(f"{kind}: {line}", file=sys.stderr)


def rate(path_steps_per_second: float) -> str:
    """Write a speed, as ``131 M path-steps/s``.

    Parameters
    ----------
    path_steps_per_second : float
        Steps of paths done in a second.

    Returns
    -------
    str
        Three significant digits and the unit.
    """
    if path_steps_per_second >= 1e9:
        return f"{path_steps_per_second / 1e9:.3g} G path-steps/s"
    if path_steps_per_second >= 1e6:
        return f"{path_steps_per_second / 1e6:.3g} M path-steps/s"
    return f"{path_steps_per_second / 1e3:.3g} k path-steps/s"


def duration(seconds: float) -> str:
    """Write a time span, as ``42s``, ``3m 05s`` or ``1h 20m``.

    Parameters
    ----------
    seconds : float
        The span, >= 0.

    Returns
    -------
    str
        The span in its two largest units.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def size(count: float) -> str:
    """Write a size, as ``1.2 MB``.

    Parameters
    ----------
    count : float
        Bytes.

    Returns
    -------
    str
        Three significant digits and the unit.
    """
    for unit, value in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= value:
            return f"{count / value:.3g} {unit}"
    return f"{count:.0f} B"


class ProgressBar:
    """A progress bar with rate and time left, for what takes more than two seconds.

    An instance is the ``progress`` that `mcmm.simulate` and `mcmm.sweep` take. On a terminal it is drawn on
    stderr; in a notebook in the cell's output, by means that need no widgets; elsewhere not at all.

    Parameters
    ----------
    what : str
        The word before the bar.
    path_steps_per_unit : int
        Path-steps in one unit of ``done``: a path's steps where paths are counted.
    unit : str
        What is counted, where it is not path-steps.
    """

    def __init__(self, what: str, path_steps_per_unit: int = 1, unit: str = "") -> None:
        self._unit = unit
        self.done = 0
        self.total = 0
        self._what = what
        self._path_steps_per_unit = path_steps_per_unit
        self._notebook = _in_notebook()
        self._visible = self._notebook or sys.stderr.isatty()
        self._started = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._bar: Progress | NotebookBar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Start the clock."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units are done."""
        self.done, self.total = done, total
        if not self._visible:
            return
        now = time.monotonic()
        if self._first is None:
            # A resumed sweep begins with work done before: the rate is of what this process adds.
            self._first = (now, done)
        if now - self._started < PATIENCE_SECONDS:
            return
        speed = self._speed(now)
        if self._notebook:
            self._bar = self._bar or NotebookBar()
        if isinstance(self._bar, NotebookBar):
            self._bar.update(self._what, done / total if total else 1.0, speed)
            return
        if self._bar is None or self._task is None:
            self._bar, self._task = self._make_bar(speed)
        self._bar.update(self._task, completed=done, total=total, speed=speed)

    def tell(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of one part of the work are done; there may be more parts.

        Parameters
        ----------
        what : str
            The part; it takes the place of the word before the bar.
        done, total : int
            Of that part alone.
        """
        if what != self._what:
            self._what, self._first = what, None
            if self._task is not None and not isinstance(self._bar, NotebookBar | None):
                self._bar.update(self._task, description=what)
        self(done, total)

    def _make_bar(self, speed: str) -> tuple[Progress, TaskID]:
        """Put the bar on the terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=4,
        )
        task = bar.add_task(self._what, completed=self.done, total=self.total, speed=speed)
        bar.start()
        return bar, task

    def _speed(self, now: float) -> str:
        """Say how fast it goes and how long it will take, as far as can be told."""
        assert self._first is not None
        since, before = self._first
        units = self.done - before
        if units <= 0 or now <= since:
            return ""
        per_second = units / (now - since)
        left = (self.total - self.done) / per_second
        if self._unit:
            return f"{per_second:,.3g} {self._unit}/s, {duration(left)} left"
        return f"{rate(per_second * self._path_steps_per_unit)}, {duration(left)} left"


class NotebookBar:
    """A progress bar in the output of a notebook's cell, drawn anew in its place."""

    def __init__(self) -> None:
        from IPython.display import display

        self._text, self._page = "", ""
        self._drawn = 0.0
        self._handle: Any = display(self, display_id=True)

    def __repr__(self) -> str:
        """Show it where there is text only."""
        return self._text

    def _repr_html_(self) -> str:
        return self._page

    def update(self, what: str, share: float, speed: str) -> None:
        """Draw how far it is, four times a second at most."""
        now = time.monotonic()
        if share < 1.0 and now < self._drawn + 0.25:
            return
        self._drawn = now
        self._text = f"{what} {share:.0%} {speed}"
        self._page = f'{what} <progress value="{share:.4f}" max="1"></progress> {share:.0%} {speed}'
        self._handle.update(self)

    def stop(self) -> None:
        """Leave it as it is: the cell's output tells how far it came."""


def _in_notebook() -> bool:
    """Tell whether this runs in a notebook's kernel; IPython, where it is not imported, is not."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")
