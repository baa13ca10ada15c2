"""A cluster on this machine: a scheduler and workers, each a process of its own, that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mcmm

# Nothing here is waited for longer, in seconds.
PATIENCE = 60.0
PLACES = [Path(__file__).parents[1], Path(mcmm.__file__).parents[1], os.environ.get("PYTHONPATH", "")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PLACES))}


def wait(until: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Cluster:
    """dask's scheduler on 127.0.0.1, and its workers of one thread each."""

    def __init__(self, folder: Path) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "log").open("wb")
        self._folder = folder
        self.schedulers: list[subprocess.Popen[bytes]] = []
        self.address = "tcp://127.0.0.1:0"
        self.start_scheduler()

    @property
    def scheduler(self) -> subprocess.Popen[bytes]:
        """The last one that was started."""
        return self.schedulers[-1]

    def start_scheduler(self) -> None:
        """Start a scheduler, at the same address as the one before."""
        file = self._folder / f"scheduler-{len(self.schedulers)}.json"
        port = self.address.rpartition(":")[2]
        self.schedulers.append(
            self._start(
                "dask_scheduler",
                *("--host", "127.0.0.1", "--port", port, "--no-dashboard", "--scheduler-file", str(file)),
            )
        )
        wait(file.exists)
        wait(lambda: file.read_text().strip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker. It has no nanny: killed, it stays dead."""
        return self._start(
            "dask_worker",
            self.address,
            *("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"),
            *("--local-directory", str(self._folder), "--death-timeout", str(PATIENCE)),
        )

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many have joined."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            wait(lambda: len(client.ncores()) >= count)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *arguments],
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
            )
        )
        return self._processes[-1]

    def close(self) -> None:
        """End all of it."""
        for process in reversed(self._processes):
            process.kill()
            process.wait(PATIENCE)
        self._log.close()
