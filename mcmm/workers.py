"""Where a sweep's tasks run: joblib's backends, on this machine or on a cluster, behind one face.

Threads, loky's processes and dask stream their results; ray gives them a round at a time. Every wait for one
has a bound: a cluster that has lost its workers, or a task that kills them, must not hang a sweep for ever.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import Any, Self

from mcmm.errors import InputError
from mcmm.tasks import build, end_with

__all__ = ["BACKENDS", "CLUSTERS", "MAX_JOBS", "Workers", "WorkersLost"]

BACKENDS = ("threading", "loky", "dask", "ray")
CLUSTERS = ("dask", "ray")
MAX_JOBS = 1024
"""The most workers on one machine."""

# How long to wait for a cluster and its first worker, in seconds.
_CONNECT = 30.0
# Without a result for so long, and for so many times what the longest task should take, something has gone.
_SILENCE, _TIMES = 120.0, 20.0
# Tasks of each worker in a round of a backend that gives its results a round at a time.
_ROUND = 8


class WorkersLost(Exception):
    """Workers were killed, or nothing was heard of them for too long; what they had is to be done again."""


class Workers:
    """The workers of one sweep.

    Parameters
    ----------
    backend : {"threading", "loky", "dask", "ray"}
        Whose.
    jobs : int
        How many on this machine; -1 for one a core. A dask cluster's are all used; ray is asked for so many.
    scheduler : str, optional
        The address of the cluster.

    Raises
    ------
    InputError
        If an argument is out of its range, or the backend is not installed.
    """

    def __init__(self, backend: str, jobs: int, scheduler: str | None) -> None:
        import joblib

        if backend not in BACKENDS:
            raise InputError(f"backend: must be one of {', '.join(BACKENDS)}, got {backend!r}")
        if type(jobs) is not int or not (jobs == -1 or 1 <= jobs <= MAX_JOBS):
            raise InputError(
                f"jobs: must be a whole number >= 1 and <= {MAX_JOBS}, or -1 for one a core, got {jobs!r}"
            )
        if backend == "dask" and not scheduler:
            raise InputError("scheduler: must be given with backend dask, as tcp://127.0.0.1:8786, got none")
        if scheduler and backend not in CLUSTERS:
            raise InputError(
                f"scheduler: must be left out with backend {backend}, which has none; got {scheduler!r}"
            )
        self.backend = backend
        self.scheduler = scheduler
        self.jobs = jobs
        # Unlike the core's count, joblib's knows a container's share of the machine.
        self.count = jobs if jobs > 0 else int(joblib.cpu_count())
        self._client: Any = None
        self._pool: Any = None
        self._stack = ExitStack()

    # ---- coming and going

    def __enter__(self) -> Self:
        """Connect to the cluster, if there is one."""
        connect = {"dask": self._connect_dask, "ray": self._connect_ray}.get(self.backend)
        if connect is not None:
            try:
                connect()
                self.refresh()
            except BaseException:
                self._stack.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster."""
        self._stack.close()

    def _connect_dask(self) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise InputError(_missing("dask")) from None
        try:
            client = Client(self.scheduler, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"scheduler: cannot be reached at {self.scheduler}: {_first_line(error)}"
            ) from None
        self._stack.callback(self._leave_dask, client)
        try:
            # Tells too whether workers can run mcmm: of a task that they cannot unpickle nothing is heard.
            theirs = client.submit(build, pure=False).result(timeout=_CONNECT)
        except TimeoutError:
            silent = f"no worker of {self.scheduler} answered within {_CONNECT:.0f} s"
            raise InputError(f"scheduler: {silent}; start one there") from None
        except ImportError as error:
            raise InputError(
                f"scheduler: its workers cannot import mcmm ({error}); install it there"
            ) from None
        _check_build(theirs)
        self._client = client

    def _leave_dask(self, client: Any) -> None:
        self._client = None
        with suppress(Exception):
            client.close(timeout=5)

    def _connect_ray(self) -> None:
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError:
            raise InputError(_missing("ray")) from None
        if not ray.is_initialized():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ray.init(self.scheduler, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise InputError(f"scheduler: ray cannot be reached: {_first_line(error)}") from None
            self._stack.callback(ray.shutdown)
        register_ray()
        try:
            theirs = ray.get(ray.remote(build).remote(), timeout=_CONNECT)
        except ray.exceptions.GetTimeoutError:
            raise InputError(f"scheduler: no worker of ray answered within {_CONNECT:.0f} s") from None
        except ray.exceptions.RayError as error:
            raise InputError(f"scheduler: ray's workers cannot run mcmm: {_first_line(error)}") from None
        _check_build(theirs)
        self._stack.callback(self._drop_pool)

    def refresh(self) -> bool:
        """Count the cluster's workers again; return whether there are more or fewer than before."""
        before = self.count
        if self._client is not None:
            self.count = max(sum(self._client.ncores().values()), 1)
        elif self.backend == "ray":
            import ray

            cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
            self.count = cores if self.jobs == -1 else min(self.jobs, cores)
        return self.count != before

    # ---- work

    @contextmanager
    def run(self, tasks: Iterable[Any], longest: Callable[[], float]) -> Iterator[Iterator[Any]]:
        """Have tasks run, and yield their results as they are finished.

        Parameters
        ----------
        tasks : iterable of (function, arguments, keywords)
            As joblib's ``delayed`` makes them; taken one by one as workers become free.
        longest : callable
            Returns how many seconds a task may be expected to take.

        Raises
        ------
        WorkersLost
            If workers were killed or are not heard of; results that had come were yielded.
        """
        from multiprocessing import TimeoutError as Silence

        from joblib.externals.loky.process_executor import BrokenProcessPool

        patience = _SILENCE + _TIMES * longest()
        try:
            if self.backend == "ray":
                yield self._in_round(list(islice(tasks, _ROUND * self.count)), patience)
                return
            results = self._parallel(patience)(tasks)
            try:
                yield results
            except (BrokenProcessPool, Silence):
                raise
            except BaseException:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    results.close()
                raise
        except BrokenProcessPool:
            raise WorkersLost("worker processes were killed") from None
        except Silence:
            raise WorkersLost(f"no worker was heard of for {patience:.0f} s") from None

    def _parallel(self, patience: float) -> Any:
        from joblib import Parallel, parallel_config

        options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
        if self.count > 1 or self.backend == "dask":  # a worker that is this thread is not waited for
            options["timeout"] = patience
        if self.backend == "loky":
            options |= {"initializer": end_with, "initargs": (os.getpid(),)}
        if self.backend != "dask":
            return Parallel(self.count, backend=self.backend, pre_dispatch=2 * self.count, **options)
        with parallel_config(_dask_backend(self._client)):
            return Parallel(self.count, pre_dispatch=2 * self.count, **options)

    def _in_round(self, tasks: list[Any], patience: float) -> Iterator[Any]:
        """Have one round of tasks run by ray, whose results come all at once."""
        import ray
        from joblib import Parallel

        if not tasks:
            return
        try:
            if self._pool is None:
                self._pool = Parallel(self.count, backend="ray", batch_size=1, timeout=patience)
                self._pool.__enter__()
            self._pool.timeout = patience
            found = self._pool(tasks)
        except ray.exceptions.RayError as error:
            self._drop_pool()
            raise WorkersLost(f"ray lost workers ({type(error).__name__})") from None
        except BaseException:
            self._drop_pool()
            raise
        yield from found

    def _drop_pool(self) -> None:
        if self._pool is not None:
            with suppress(Exception):
                self._pool.__exit__(None, None, None)
            self._pool = None


def _dask_backend(client: Any) -> Any:
    """Return joblib's backend for a dask cluster."""
    from joblib._dask import DaskDistributedBackend

    class Cluster(DaskDistributedBackend):  # type: ignore[misc]
        """With one core in the cluster joblib would compute in this process instead."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(int(super().effective_n_jobs(n_jobs)), 2)

    return Cluster(client=client)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _missing(extra: str) -> str:
    return f'backend: {extra} is not installed; install it with: python -m pip install "mcmm[{extra}]"'


def _check_build(theirs: tuple[tuple[str, str], ...]) -> None:
    """Refuse workers of another mcmm: the bits of a path are promised within a version."""
    ours = dict(build())["mcmm"]
    there = dict(theirs)["mcmm"]
    if there != ours:
        raise InputError(
            f"scheduler: its workers have mcmm {there} and this is {ours}; install the same on all"
        )
