"""Processes and the sweeps in them, for tests that kill."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# Every wait of these tests ends: nothing takes longer than this, in seconds.
PATIENCE = 60.0


def wait(until: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait until something is so, and return how long that took."""
    begin = time.monotonic()
    while not until():
        assert time.monotonic() < begin + seconds, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - begin


def processes() -> dict[int, int]:
    """The parent of every process that is not over."""
    if Path("/proc/self/stat").exists():
        found = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name before the last bracket may have blanks in it.
                state, parent = status.read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it ended meanwhile
            if state != "Z":
                found[int(status.parent.name)] = int(parent)
        return found
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def children(parent: int) -> list[int]:
    """Processes that a process started."""
    return [pid for pid, owner in processes().items() if owner == parent]


def workers_of(parent: int) -> list[int]:
    """The processes that a sweep's tasks run in; loky starts others too, which watch over its resources."""
    found = []
    for pid in children(parent):
        command = subprocess.run(
            ["ps", "-p", str(pid), "-ww", "-o", "args="], capture_output=True, text=True, check=False
        )
        if "popen_loky" in command.stdout:
            found.append(pid)
    return found
