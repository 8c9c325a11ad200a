"""Completion: commands, options, choices, jobs, sites, folders and files that can stand where TAB is pressed."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import click
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from ...kernel.errors import SundogError
from ..admin.command import Typed, typed
from ..admin.session import Session
from ..commands.declaration import Command
from ..commands.registry import AnyCommand
from .local import ALIASES, all_commands

Source = Callable[[str], Iterable[tuple[str, str]]]
"""What begins so → (what can stand there, a word on it)."""
FRESH_SECONDS = 3.0
"""How long an answer of the server is good."""
PATIENCE_SECONDS = 1.0
"""How long TAB waits for it; typing goes on meanwhile."""


class ConsoleCompleter(Completer):
    """Completes a line of the console. Call it on a thread of its own: it may wait for the server.

    Args:
        sources: what a parameter's declaration says that TAB finds (jobs, sites, …) → what there is.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor.lstrip()
        word = "" if not text or text[-1].isspace() else text.split()[-1]
        words = _lenient_split(text[: len(text) - len(word)])
        for candidate, meta in self._candidates(words, word):
            if candidate.startswith(word):
                yield Completion(shlex.quote(candidate) if " " in candidate else candidate, -len(word), display_meta=meta)

    def _candidates(self, words: list[str], word: str) -> Iterable[tuple[str, str]]:
        commands = all_commands()
        name = ALIASES.get(words[0], words[0]) if words else ""
        if not words or (name == "help" and len(words) == 1):
            return [(command.name, command.summary) for command in commands.values()]
        if words[-1] in (">", ">>"):
            return files(Path())(word)
        command = commands.get(name)
        if not isinstance(command, Command):
            return files(Path())(word) if name == "source" else ()
        return self._arguments(command, words[1:], word)

    def _arguments(self, command: AnyCommand, given: list[str], word: str) -> Iterable[tuple[str, str]]:
        """What can stand behind the arguments that were given."""
        options = {name: one for one in typed(command) if isinstance(one.click, click.Option) for name in one.click.opts}
        positional = [one for one in typed(command) if isinstance(one.click, click.Argument)]
        last = options.get(given[-1]) if given else None
        if last is not None and _takes_value(last):
            return self._values(last, word)
        if word.startswith("-"):
            return [(name, one.mark.help) for name, one in options.items()]
        at = _count_positional(given, options)
        if at < len(positional):
            return self._values(positional[at], word)
        return self._values(positional[-1], word) if positional and positional[-1].click.nargs == -1 else ()

    def _values(self, one: Typed, word: str) -> Iterable[tuple[str, str]]:
        if isinstance(one.click.type, click.Choice):
            return [(str(choice), "") for choice in one.click.type.choices]
        return self._sources.get(one.mark.completes, _nothing)(word)


def sources_of(session: Session) -> dict[str, Source]:
    """What there is, asked of this session's server or looked up on the disk."""
    jobs = Remembered(lambda: _jobs(session))
    sites = Remembered(lambda: _sites(session))
    return {
        "jobs": lambda _: jobs.get(),
        "sites": lambda _: sites.get(),
        "targets": lambda _: [("server", ""), *sites.get()],
        "job_folders": files(session.folder / session.kit.upload_dir, folders_only=True),
        "folders": files(Path(), folders_only=True),
        "files": files(Path()),
    }


class Remembered:
    """An answer that is asked for on a thread of its own, and good for a while.

    Args:
        ask: gives the answer; a SundogError means that there is none.
    """

    def __init__(self, ask: Callable[[], list[tuple[str, str]]]) -> None:
        self._ask = ask
        self._answer: list[tuple[str, str]] = []
        self._asked_at = float("-inf")
        self._is_there = threading.Event()

    def get(self) -> list[tuple[str, str]]:
        """The answer; the last one, or nothing, when a new one does not come soon."""
        if time.monotonic() - self._asked_at > FRESH_SECONDS:
            self._asked_at = time.monotonic()
            self._is_there.clear()
            threading.Thread(target=self._renew, name="sundog-completion", daemon=True).start()
        self._is_there.wait(PATIENCE_SECONDS)
        return self._answer

    def _renew(self) -> None:
        try:
            self._answer = self._ask()
        except SundogError:  # TAB finds less then; the next command tells why
            pass
        finally:
            self._is_there.set()


def files(root: Path, *, folders_only: bool = False) -> Source:
    """Files and folders below one, by paths relative to it."""

    def find(word: str) -> Iterator[tuple[str, str]]:
        above, _, _ = word.rpartition("/")
        folder = root / Path(f"{above}/" if word.startswith("/") else above).expanduser()
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return
        for entry in entries:
            name = word[: len(word) - len(word.rpartition("/")[2])] + entry.name
            if not entry.name.startswith("."):
                if entry.is_dir():
                    yield (name if folders_only and (entry / "meta.json").is_file() else f"{name}/"), ""
                elif not folders_only:
                    yield name, ""

    return find


def _jobs(session: Session) -> list[tuple[str, str]]:
    if not session.connection.link.is_up:
        return []
    return [(row.job_id, f"{row.name} {row.status}") for row in session.list_jobs().jobs]


def _sites(session: Session) -> list[tuple[str, str]]:
    if not session.connection.link.is_up:
        return []
    return [(row.client, "") for row in session.check_status("server").clients]


def _takes_value(one: Typed) -> bool:
    return isinstance(one.click, click.Option) and not one.click.is_flag


def _count_positional(given: list[str], options: Mapping[str, Typed]) -> int:
    count, is_value = 0, False
    for word in given:
        option = options.get(word)
        if not is_value and not word.startswith("-"):
            count += 1
        is_value = not is_value and option is not None and _takes_value(option)
    return count


def _lenient_split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation is still open
        return text.split()


def _nothing(_word: str) -> tuple[tuple[str, str], ...]:
    return ()
