"""Our processes: their children, what they remember, and how they end."""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

import citycam

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Terminated(KeyboardInterrupt):
    """SIGTERM asks this process to end, which it does as after Ctrl-C."""


@contextlib.contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM while the context is open.

    It does nothing in other threads than the main one, where signals do not arrive, and where SIGTERM is handled
    already.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# How to forget each function's results, and whether they hold memory of a device.
_memories: list[tuple[Callable[[], None], bool]] = []


def remember(
    most: int, *, on_device: bool = False
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Keep the results of the latest ``most`` calls of a function until `forget`; its arguments must be hashable.

    It is for what files, networks and devices say. Tables that never change may use `functools.cache`.

    Args:
        on_device: whether results or arguments hold memory of a device.
    """

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        kept = functools.lru_cache(maxsize=most)(function)
        _memories.append((kept.cache_clear, on_device))
        return cast(Callable[_Arguments, _Result], kept)

    return decorate


def forget(*, on_device: bool = False) -> None:
    """Forget all that `remember` keeps; ``on_device``: only what holds memory of a device."""
    for clear, is_on_device in _memories:
        if is_on_device or not on_device:
            clear()


def collect_rarely() -> None:
    """Run the garbage collector rarely: torch makes a million objects that stay, and every collection looks at them."""
    gc.set_threshold(200_000, 20, 20)


def preemptions() -> int:
    """Return how often other programs took a core from this process; 0 on systems that do not count it."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment and ``more``, in which a child finds the package."""
    # train.py also runs where citycam is not installed, from its own folder.
    places = [str(Path(citycam.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))} | more


@contextlib.contextmanager
def changed_environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable of this process while the context is open."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def is_gone(host: Any, pid: Any) -> bool:
    """Return whether a process ran on this machine and has ended; False where that cannot be known."""
    # The system takes 0 and negative numbers for groups of processes.
    if host != platform.node() or not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    return False


class Child:
    """A Python process that works for this one; it is killed when the context is left.

    It calls `end_with_input` first: its input is a pipe that this process holds, so it also exits when this process
    dies. It has a session of its own: Ctrl-C goes to this process alone, which then leaves the context.

    Args:
        module: run as ``python -m module``.
        arguments: of its command line.
        log: a file for its stderr; None shows its stderr to the person.
        variables: of its environment, added to those of this process.
    """

    def __init__(self, module: str, *arguments: str, log: Path | None = None, **variables: str) -> None:
        self._log = log
        with contextlib.ExitStack() as stack:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=None if log is None else stack.enter_context(log.open("wb")),
                env=environment(**variables),
                start_new_session=True,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def code(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait until it has ended, or ``seconds`` have passed; return its `code`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.code

    def failure(self) -> str:
        """Return why it failed, without a full stop: what killed it, the last line of its log, or its exit code."""
        code = self.code or 0
        if code < 0:
            hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
            return f"killed by {signal.Signals(-code).name}{hint}"
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log is not None else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].removeprefix("citycam: ").rstrip(".") if lines else f"exit code {code}"


def end_with_parent() -> None:
    """Exit when the parent process of `multiprocessing` exits, however it dies, so that no orphan trains on or holds a
    device. Further calls do nothing."""
    parent, name = multiprocessing.parent_process(), "end with parent"

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    if not any(thread.name == name for thread in threading.enumerate()):
        threading.Thread(target=wait, name=name, daemon=True).start()


def end_with_input() -> None:
    """Exit when standard input ends, as it does when the process that holds its other end dies, however it dies."""

    def wait() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
