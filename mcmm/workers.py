"""Where a sweep's tasks run: joblib's backends, on this machine or on a cluster, behind one face.

Threads, loky's processes and dask stream their results; ray gives them a round at a time. Every wait for one
has a bound: a cluster that has lost its workers, or a task that kills them, must not hang a sweep for ever.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import islice
from typing import Any, Self

from mcmm.errors import InputError, MCMMError
from mcmm.tasks import build, end_with

__all__ = ["BACKENDS", "CLUSTERS", "KEPT", "MAX_JOBS", "Workers", "WorkersLost"]

BACKENDS = ("threading", "loky", "dask", "ray")
CLUSTERS = ("dask", "ray")
MAX_JOBS = 1024
"""The most workers on one machine."""
KEPT = "what is finished is kept, run the sweep again to go on"
"""What a message about a cluster that is lost ends with."""

# How long to wait for a cluster and its first worker, in seconds.
_CONNECT = 30.0
# How long to wait for a connection that only tells whether the head is there, in seconds.
_PROBE = 5.0
# How long to wait for a cluster's goodbye, in seconds.
_LEAVE = 10.0
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
        if backend in CLUSTERS and not _installed("distributed" if backend == "dask" else backend):
            raise InputError(_missing(backend))
        self.backend = backend
        self.scheduler = scheduler
        self.jobs = jobs
        # Unlike the core's count, joblib's knows a container's share of the machine.
        self.count = jobs if jobs > 0 else int(joblib.cpu_count())
        self._client: Any = None
        self._pool: Any = None
        self._address: tuple[str, int] | None = None
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
            from distributed.comm import get_address_host_port
        except ImportError:
            raise InputError(_missing("dask")) from None
        place = f"scheduler: {self.scheduler}"
        try:
            # dask's client would try again for half a minute where nobody listens.
            self._address = get_address_host_port(self.scheduler)
            with socket.create_connection(self._address, _CONNECT):
                pass
            self._stack.enter_context(_quiet("distributed"))
            # Its own timeout does not end its wait for a scheduler that takes the connection and hangs.
            client = _within(
                _CONNECT + 1.0, lambda: Client(self.scheduler, timeout=_CONNECT, set_as_default=False)
            )
        except (OSError, ValueError, TypeError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or _first_line(error)
            raise InputError(f"{place}: cannot be reached: {reason}") from None
        self._stack.callback(self._leave_dask, client)
        try:
            # Tells too whether workers can run mcmm: of a task that they cannot unpickle nothing is heard.
            theirs = client.submit(build, pure=False).result(timeout=_CONNECT)
        except TimeoutError:
            raise InputError(
                f"{place}: no worker answered within {_CONNECT:.0f} s; start one there"
            ) from None
        except ImportError as error:
            raise InputError(f"{place}: its workers cannot import mcmm: {error}; install it there") from None
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
                with warnings.catch_warnings(), _own_sigterm():
                    warnings.simplefilter("ignore")
                    own = self._own_ray()
                    options = {"log_to_driver": False, "logging_level": "ERROR", **own}
                    if own:  # its processes live as long as the thread that starts them
                        ray.init(**options)
                    else:  # for a head that hangs it would wait for ever
                        _within(2 * _CONNECT, lambda: ray.init(self.scheduler, **options))
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise InputError(f"scheduler: ray cannot be reached: {_first_line(error)}") from None
            self._stack.callback(self._leave_ray)
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._address = (host.strip("[]"), int(port))
        register_ray()
        try:
            theirs = ray.get(ray.remote(build).remote(), timeout=_CONNECT)
        except ray.exceptions.GetTimeoutError:
            raise InputError(f"scheduler: no worker of ray answered within {_CONNECT:.0f} s") from None
        except ray.exceptions.RayError as error:
            raise InputError(f"scheduler: ray's workers cannot run mcmm: {_first_line(error)}") from None
        _check_build(theirs)
        self._stack.callback(self._drop_pool)

    def _leave_ray(self) -> None:
        import ray

        with suppress(Exception):
            _within(_LEAVE, ray.shutdown)

    def _own_ray(self) -> dict[str, Any]:
        """Return what a ray of our own is started with, which sends nobody statistics of its use."""
        if self.scheduler or "RAY_ADDRESS" in os.environ:
            return {}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        return {"num_cpus": self.count, "include_dashboard": False}

    def refresh(self, patience: float | None = None) -> bool:
        """Count the cluster's workers again; return whether there are more or fewer than before.

        Parameters
        ----------
        patience : float, optional
            How long to wait for a worker where there is none, in seconds; as long as at the start.

        Raises
        ------
        MCMMError
            If the cluster does not answer or there is still none.
        """
        before = self.count
        wait = _CONNECT if patience is None else patience
        if self.backend == "dask":
            self.count = self._count(self._ask_dask, wait) or before
        elif self.backend == "ray":
            cores = self._count(self._ask_ray, wait)
            self.count = (cores if self.jobs == -1 else min(self.jobs, cores)) or before
        return self.count != before

    def _ask_dask(self) -> int:
        # Without a bound it would wait for ever for a scheduler that hangs.
        return int(sum(self._client.ncores(callback_timeout=_CONNECT).values()))

    def _ask_ray(self) -> int:
        import ray

        try:
            # For a head that hangs ray waits for ever; where it is gone it ends this process after a minute.
            return int(_within(_CONNECT, ray.cluster_resources).get("CPU", 0))
        except ray.exceptions.RayError as error:
            raise RuntimeError(_first_line(error)) from None

    def _count(self, ask: Callable[[], int], patience: float) -> int:
        """Ask how many cores the cluster has until it has some, or 0 at once where there is no patience."""
        begin = time.monotonic()
        while True:
            try:
                count = ask()
            except (OSError, RuntimeError, TimeoutError) as error:
                # One that is started again at the same address within this time is taken up.
                if time.monotonic() > begin + _CONNECT:
                    raise MCMMError(f"{self._head} {_fate(self._address, error)}; {KEPT}") from None
            else:
                if count or not patience:
                    return count
                if time.monotonic() > begin + patience:
                    raise MCMMError(f"{self._head} has had no workers for {patience:.0f} s; {KEPT}")
            time.sleep(0.2)

    @property
    def _head(self) -> str:
        """What leads the cluster, for a message."""
        if self.backend == "dask":
            return f"the scheduler at {self.scheduler}"
        return "ray's head" + (" at {}:{}".format(*self._address) if self._address else "")

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
        patience = _SILENCE + _TIMES * longest()
        lost: Any = _losses(self.backend)
        try:
            if self.backend == "ray":
                yield self._in_round(list(islice(tasks, _ROUND * self.count)), patience)
                return
            results = self._parallel(patience)(tasks)
            try:
                yield results
            except (*lost, WorkersLost):
                raise
            except BaseException:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    results.close()
                raise
        except lost as error:
            if isinstance(error, multiprocessing.TimeoutError):
                raise WorkersLost(f"no worker was heard of for {patience:.0f} s") from None
            memory = "often for want of memory, of which fewer jobs take less"
            raise WorkersLost(f"workers were killed or cut off ({type(error).__name__}; {memory})") from None

    def _parallel(self, patience: float) -> Any:
        from joblib import Parallel, parallel_config

        options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
        if self.count > 1 or self.backend == "dask":  # a worker that is this thread is not waited for
            options["timeout"] = patience
        if self.backend == "loky":
            options |= {"initializer": end_with, "initargs": (os.getpid(),)}
        if self.backend != "dask":
            return Parallel(self.count, backend=self.backend, pre_dispatch=2 * self.count, **options)
        with parallel_config(_dask_backend(self._client, self.count)):
            return Parallel(self.count, pre_dispatch=2 * self.count, **options)

    def _in_round(self, tasks: list[Any], patience: float) -> Iterator[Any]:
        """Have one round of tasks run by ray, whose results come all at once."""
        from joblib import Parallel

        if not tasks:
            return
        try:
            if self._pool is not None and self._pool.n_jobs != self.count:
                self._drop_pool()
            if self._pool is None:
                self._pool = Parallel(self.count, backend="ray", batch_size=1, timeout=patience)
                self._pool.__enter__()
            self._pool.timeout = patience
            found = self._pool(tasks)
        except BaseException:
            self._drop_pool()
            raise
        yield from found

    def _drop_pool(self) -> None:
        if self._pool is not None:
            with suppress(Exception):
                self._pool.__exit__(None, None, None)
            self._pool = None


def _within(seconds: float, make: Callable[[], Any]) -> Any:
    """Return what a call makes; raise TimeoutError where it takes longer, and leave it to itself."""
    found: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            found.put((make(), None))
        except BaseException as error:
            found.put((None, error))

    threading.Thread(target=call, name="mcmm-connect", daemon=True).start()
    try:
        made, error = found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return made


def _losses(backend: str) -> tuple[type[BaseException], ...]:
    """Return what is raised where workers are killed, cut off or silent."""
    from joblib.externals.loky.process_executor import BrokenProcessPool

    if backend == "dask":
        from distributed import CancelledError, KilledWorker

        return (multiprocessing.TimeoutError, TimeoutError, CancelledError, KilledWorker)
    if backend == "ray":
        from ray.exceptions import RayError

        return (multiprocessing.TimeoutError, RayError)
    return (multiprocessing.TimeoutError, BrokenProcessPool)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what a SIGTERM does as it was: ray has it abort the process, with a trace of the stack."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError, TypeError):  # not the main thread, or nothing of Python's
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library's log to itself: what it tells of lost workers is said here, once."""
    known = [logging.getLogger(each) for each in logging.Logger.manager.loggerDict if each.startswith(name)]
    levels = [logger.level for logger in known]
    for logger in known:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(known, levels, strict=True):
            logger.setLevel(level)


def _dask_backend(client: Any, count: int) -> Any:
    """Return joblib's backend for a dask cluster of so many cores."""
    from joblib._dask import DaskDistributedBackend

    class Cluster(DaskDistributedBackend):  # type: ignore[misc]
        """With one core in the cluster joblib would compute in this process instead."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(count, 2)

    return Cluster(client=client)


def _fate(address: tuple[str, int] | None, error: BaseException) -> str:
    """Say what has become of a cluster's head that gave an error in place of an answer."""
    if address is not None:
        try:
            socket.create_connection(address, _PROBE).close()
        except OSError as refused:
            return f"is lost ({refused.strerror or _first_line(refused)})"
    return f"does not answer ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _installed(module: str) -> bool:
    """Tell without importing it, which takes a second, whether a module is here."""
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None


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
