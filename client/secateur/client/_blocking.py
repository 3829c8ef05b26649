"""The asyncio SDK driven from ordinary code: one private event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from secateur.client._fork import begin_call, is_cut_off
from secateur.client.errors import UsageError

_P = ParamSpec("_P")
_InnerT = TypeVar("_InnerT")
_HeldT = TypeVar("_HeldT", covariant=True)
_ResultT = TypeVar("_ResultT")
_ReturnT = TypeVar("_ReturnT")
_Told = SimpleQueue[Callable[[], object] | None]


class LoopThread:
    """An event loop that runs on a daemon thread, started by the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._abandoning: set[asyncio.Task[None]] = set()

    def run(self, function: Callable[[], Coroutine[Any, Any, _ResultT]], told: _Told | None = None) -> _ResultT:
        """Calls a coroutine function on the loop and returns its result.

        What the function puts into `told` is called meanwhile, in the calling thread. An exception there, such as Ctrl+C,
        cancels it, at whatever moment it comes: hence the coroutine is made on the loop, where nothing interrupts.

        Raises:
            UsageError: If the client is closed, or is being closed before the result is there; if the thread cannot answer.
        """
        self._check_caller()
        outcome: Future[_ResultT] = Future()
        task: asyncio.Task[None] | None = None

        async def settle() -> None:
            try:
                outcome.set_result(await function())
            except asyncio.CancelledError:
                outcome.cancel()
                raise
            except BaseException as error:  # SystemExit too is the caller's: here it would end the loop
                outcome.set_exception(error)

        def start() -> None:
            nonlocal task
            task = asyncio.ensure_future(settle())

        def cancel() -> None:
            if task is not None:
                task.cancel()

        try:
            with self._lock:  # whoever closes the client finds the call on the loop, or the call finds it closed
                self._started().call_soon_threadsafe(start)
            if told is not None:
                outcome.add_done_callback(lambda _: told.put(None))
                while (tell := told.get()) is not None:
                    tell()
            return outcome.result()
        except CancelledError:
            raise _closed() from None
        except BaseException:
            with self._lock:
                if self._loop is not None and not self._closed:
                    self._loop.call_soon_threadsafe(cancel)
            raise

    def iterate(self, generator: AsyncGenerator[_ResultT, None]) -> Generator[_ResultT, None, None]:
        """Yields what an asynchronous generator yields; has it closed when the iteration ends early."""
        latest: asyncio.Task[Any] | None = None

        async def advance() -> tuple[_ResultT] | None:
            nonlocal latest
            latest = asyncio.current_task()
            async for item in generator:
                return (item,)
            return None

        async def close() -> None:
            if latest is not None:  # after Ctrl+C it is cancelled by now, but may not have ended yet
                await asyncio.wait([latest])
            await generator.aclose()

        try:
            while (box := self.run(advance)) is not None:
                yield box[0]
        except BaseException:
            self._abandon(close)
            raise

    def _abandon(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Has a generator closed on the loop, and waits neither for that nor for the lock.

        Whoever ends an iteration may be the garbage collector, in any thread and between any two steps: in the loop's own, in
        one that holds the lock, or when the interpreter ends and the loop has stopped for ever.
        """

        def start() -> None:
            if not self._closed:  # else the loop closes every generator anyway
                task = asyncio.ensure_future(close())
                self._abandoning.add(task)
                task.add_done_callback(self._abandoning.discard)

        if self._loop is not None and not is_cut_off():
            with suppress(RuntimeError):  # the loop was closed this very moment
                self._loop.call_soon_threadsafe(start)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a last coroutine, cancels whatever still runs, and ends the thread. Closing twice is fine.

        Raises:
            UsageError: If the thread cannot answer.
        """
        if is_cut_off() or sys.is_finalizing():  # the thread is not in this process, or has stopped for ever
            return
        self._check_caller()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(_finish(last), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _check_caller(self) -> None:
        """Refuses to wait for what will never come."""
        begin_call()
        if sys.is_finalizing():
            raise UsageError("CLIENT_CLOSED", "The interpreter is ending, so no call is made any more; call before it ends")
        if threading.current_thread() is self._thread:
            raise UsageError(
                "CLIENT_REENTERED",
                "The client was called in its own thread, which serves all its calls, perhaps by a finalizer that the garbage "
                "collector ran there; call it in a thread of your own",
            )

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise _closed()
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="secateur-client", daemon=True)
            self._thread.start()
        return self._loop


def _closed() -> UsageError:
    return UsageError("CLIENT_CLOSED", "The client is closed; make a new one")


async def _finish(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await last()


class Facade(Generic[_HeldT]):
    """A handle that blocks around one that awaits."""

    def __init__(self, thread: LoopThread, inner: _HeldT) -> None:
        self._thread = thread
        self._inner = inner


def blocking(
    method: Callable[Concatenate[_InnerT, _P], Coroutine[Any, Any, _ResultT]],
    wrap: Callable[[LoopThread, _ResultT], _ReturnT],
) -> Callable[Concatenate[Facade[_InnerT], _P], _ReturnT]:
    """Returns a method that blocks: same arguments and documentation as `method`, its result passed through `wrap`."""

    @functools.wraps(method)
    def call(self: Facade[_InnerT], /, *args: _P.args, **kwargs: _P.kwargs) -> _ReturnT:
        return wrap(self._thread, self._thread.run(lambda: method(self._inner, *args, **kwargs)))

    return call


def telling(
    method: Callable[Concatenate[_InnerT, _P], Coroutine[Any, Any, _ResultT]],
) -> Callable[Concatenate[Facade[_InnerT], _P], _ResultT]:
    """Returns a method that blocks, and that calls its argument `on_progress`, if it is given, in the calling thread."""

    @functools.wraps(method)
    def call(self: Facade[_InnerT], /, *args: _P.args, **kwargs: _P.kwargs) -> _ResultT:
        told: _Told = SimpleQueue()
        on_progress = kwargs.get("on_progress")

        def hand_over(*facts: object) -> asyncio.Future[None]:
            """Hands a call to the calling thread; the future is done once it is made, so nothing overtakes it."""
            loop = asyncio.get_running_loop()
            called = loop.create_future()

            def note() -> None:
                if not called.done():
                    called.set_result(None)

            def tell() -> None:
                on_progress(*facts)  # type: ignore[operator]
                with suppress(RuntimeError):  # it has closed the client
                    loop.call_soon_threadsafe(note)

            told.put(tell)
            return called

        if callable(on_progress):
            kwargs["on_progress"] = hand_over
        return self._thread.run(lambda: method(self._inner, *args, **kwargs), told)

    return call


def iterating(
    method: Callable[Concatenate[_InnerT, _P], AsyncGenerator[_ResultT, None]],
    wrap: Callable[[LoopThread, _ResultT], _ReturnT],
) -> Callable[Concatenate[Facade[_InnerT], _P], Generator[_ReturnT, None, None]]:
    """Returns a method that yields what `method` yields asynchronously, each item passed through `wrap`."""

    @functools.wraps(method)
    def call(self: Facade[_InnerT], /, *args: _P.args, **kwargs: _P.kwargs) -> Generator[_ReturnT, None, None]:
        for item in self._thread.iterate(method(self._inner, *args, **kwargs)):
            yield wrap(self._thread, item)

    return call


def same(_: LoopThread, value: _ResultT) -> _ResultT:
    """Returns a result as it is: values need no wrapping."""
    return value
