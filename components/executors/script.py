"""How does a plain training script do a site's tasks? It runs from top to bottom, as `python train.py` would run it.

It owns its loop, so that the tasks go to it and not the other way round. A job process lets it have the main thread
(`drive`). Where several sites share a process, each script has a thread of its own and a baton goes round: the script
runs only while `execute` waits for it, so that there is still one piece of job code at a time.
"""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import cast

import structlog

from ...kernel.context import Context, RunAborted, current_context, derive_seed
from ...kernel.errors import ComponentError
from ...kernel.roles import Executor
from ...kernel.shareable import Shareable
from ...kernel.tasks import Task
from ..seeding import seed_generators
from .script_site import EndedEarly, Site, TaskSource, playing

_ABORT_SECONDS = 2.0
"""How long a script may take to leave once the run is aborted; the same as the first rung of the ladder for a job process."""

log = structlog.get_logger()


class ScriptMissing(ComponentError):
    """The script of a ScriptExecutor does not exist.

    Cause: a typing mistake in `script`, or the file is not in the app's custom/ folder.

    Cure: give its path relative to custom/.
    """

    code = "SD-3117"


class ScriptExited(ComponentError):
    """A script ended by sys.exit() with a status that is not 0.

    Cause: the script says itself that it failed, often argparse about `args`.

    Cure: look at what it printed in the run's log; compare `args` with what it accepts.
    """

    code = "SD-3118"


class ScriptExecutor(Executor):
    """Runs a training script that takes its tasks from `sundog.site()`.

    Args:
        script: the file, relative to the app's custom/ folder.
        args: what it finds in sys.argv[1:].
    """

    def __init__(self, script: str, args: Sequence[str] = ()) -> None:
        self.script = script
        self.args = tuple(args)
        self._context: Context | None = None
        self._baton: _Baton | None = None

    def start(self, ctx: Context) -> None:
        """Remember the start: the script's lines before its loop are run in its context, with its seed."""
        self._context = ctx

    def drive(self, source: TaskSource) -> None:
        """Run the script on the calling thread, from its first line to its last; it pulls its tasks from the source.

        Raises:
            ScriptMissing, ScriptExited: it does not exist, or ended by a failure of its own.
            NothingSent, EndedEarly, OutOfTurn: it does not keep to the order of one result for each task.
            Exception: whatever it raises itself.
        """
        script = self._load()
        with script.on_stage():
            script.play(source)

    def execute(self, task: Task, ctx: Context) -> Shareable:
        """Let the script go on with this task, in its own thread, until it asks for the next one.

        Raises:
            Exception: as `drive`; the traceback is the script's.
        """
        if self._baton is None:
            self._baton = _Baton(self._load())
            self._baton.begin()
            seed_generators(ctx.seed)  # once more: the lines before the loop have drawn from it
        return self._baton.give(task, ctx)

    def stop(self, ctx: Context) -> None:
        if self._baton is not None:
            self._baton.end(ctx)

    def _load(self) -> _Script:
        context = self._context or current_context()
        return _Script(_find(self.script, context.folder / "app" / "custom"), self.args, context)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Why a script's caller may go on: it waits for a task, or it has come to its end."""

    is_last: bool = False
    error: BaseException | None = None


class _Script:
    """A script file, ready to run once."""

    def __init__(self, path: Path, args: Sequence[str], context: Context) -> None:
        self.path = path
        self.context = context
        self._argv = [str(path), *args]
        self._loader = SourceFileLoader("__main__", str(path))
        self._module = ModuleType("__main__")
        self._module.__file__ = str(path)

    @contextmanager
    def on_stage(self) -> Iterator[None]:
        """For a block, sys.argv, `__main__` and the import path are the script's."""
        argv, main, folder = sys.argv, sys.modules["__main__"], str(self.path.parent)
        sys.argv, sys.modules["__main__"] = self._argv, self._module
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.argv, sys.modules["__main__"] = argv, main
            if folder in sys.path:
                sys.path.remove(folder)

    def play(self, source: TaskSource) -> None:
        """Run it to its end, on this thread."""
        site = Site(source, self.context)
        token = playing.set(site)
        seed_generators(derive_seed(self.context.seed, self.context.site, "script"))
        try:
            self._run()
            site.finish()
        finally:
            playing.reset(token)
            site.close()

    def _run(self) -> None:
        try:
            self._loader.exec_module(self._module)
        except SystemExit as exit_:
            if exit_.code not in (None, 0):
                raise ScriptExited(f"sys.exit({exit_.code!r})", where=str(self.path)) from exit_


class _Baton:
    """Hands tasks to a script's thread and waits until it has made something of them. A TaskSource on the script's side."""

    def __init__(self, script: _Script) -> None:
        self._script = script
        self._tasks: queue.SimpleQueue[tuple[Task, Context] | RunAborted | None] = queue.SimpleQueue()
        self._turns: queue.SimpleQueue[_Turn] = queue.SimpleQueue()
        self._result: Shareable | None = None
        self._is_over = False
        run = contextvars.copy_context().run  # the script finds the caller's scratch folder
        self._thread = threading.Thread(target=run, args=(self._play,), name=f"script {script.path.name}", daemon=True)

    def begin(self) -> None:
        """Run the script until it asks for its first task."""
        with self._script.on_stage():
            self._thread.start()
            self._await_turn()

    def give(self, task: Task, ctx: Context) -> Shareable:
        """Run it with a task until it asks for the next one; gives its result."""
        if self._is_over:
            raise EndedEarly(f"wanted a result of task {task.name!r}, step {task.step}, got a script that is over", where=ctx.site)
        with self._script.on_stage():
            self._tasks.put((task, ctx))
            self._await_turn()
        return cast("Shareable", self._result)  # a script that asks for the next task has sent one: Site sees to it

    def end(self, ctx: Context) -> None:
        """Let it come to its end or, if the run is aborted, leave; one that does not leave in time is left behind."""
        if self._is_over:
            return
        with self._script.on_stage():
            if not ctx.abort:
                self._tasks.put(None)
                self._await_turn()
                return
            self._tasks.put(RunAborted(ctx.abort.reason))
            self._thread.join(_ABORT_SECONDS)
        self._is_over = True
        if self._thread.is_alive():
            log.warning("script_left_behind", script=str(self._script.path), site=ctx.site)

    def next(self) -> tuple[Task, Context] | None:
        self._turns.put(_Turn())
        given = self._tasks.get()
        if isinstance(given, RunAborted):
            raise given
        return given

    def answer(self, result: Shareable) -> None:
        self._result = result

    def _await_turn(self) -> None:
        turn = self._turns.get()
        self._is_over = turn.is_last
        if turn.error is not None:
            raise turn.error

    def _play(self) -> None:
        try:
            self._script.play(self)
        except BaseException as error:  # noqa: BLE001  # whatever ended the script: who waits for its turn raises it; unheard, he would wait for ever
            self._turns.put(_Turn(is_last=True, error=error))
        else:
            self._turns.put(_Turn(is_last=True))


def _find(script: str, custom: Path) -> Path:
    """The script's file, in the app's custom/ folder or where Python looks for modules.

    Raises:
        ScriptMissing: it is in none of them.
    """
    for folder in (str(custom), *sys.path):
        path = Path(folder, script)
        if path.is_file():
            return path.resolve()
    raise ScriptMissing(f"wanted a file {script!r} in the app's custom/ folder {custom}, got none", where="ScriptExecutor, script")
