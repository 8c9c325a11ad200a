"""What can go wrong: one tree of errors, each with a stable code, a place and a cure.

    SundogError
    ├── PluginError      SD-10xx   a plugin package cannot be used
    ├── SpecError        SD-11xx   a component spec or a config file is wrong
    ├── PayloadError     SD-12xx   tensors, blobs, messages or records cannot be read
    ├── TransportError   SD-20xx   a wire cannot be opened, or broke
    ├── LinkError        SD-21xx   a peer was refused, or does not answer
    ├── ComponentError   SD-30xx   a component of a job cannot do its work
    ├── JobError         SD-40xx   a job is refused, or ended badly
    ├── DaemonError      SD-50xx   a server or a site cannot start or go on
    ├── AdminError       SD-60xx   a command is refused
    └── CommandLineError SD-70xx   the command line cannot do what was asked

A concrete error is declared beside its raiser, with its own code. Its docstring is its page: the first
line says what happened, a paragraph "Cause:" the likely cause, a paragraph "Cure:" the next step.
`sundog explain` prints it.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from .wording import cut


class SundogError(Exception):
    """Something went wrong that has a code, a place and a cure.

    Args:
        what: one sentence: what was found, with the value that was got and what was wanted.
        where: the place: `file: json.path`, a component, an address.
        cure: the next step, when it is more exact than the one on the error's page.
    """

    code: ClassVar[str] = "SD-0000"

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.cure = cure or paragraph(type(self), "Cure")

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"[{self.code}] {place}{self.what}"


class PluginError(SundogError):
    """A plugin package cannot be used."""


class SpecError(SundogError):
    """A component spec or a config file is wrong."""


class PayloadError(SundogError):
    """Tensors, blobs, messages or records cannot be read."""


class TransportError(SundogError):
    """A wire cannot be opened, or broke."""


class LinkError(SundogError):
    """A peer was refused, or does not answer."""


class ComponentError(SundogError):
    """A component of a job cannot do its work."""


class JobError(SundogError):
    """A job is refused, or ended badly."""


class DaemonError(SundogError):
    """A server or a site cannot start or go on."""


class AdminError(SundogError):
    """A command is refused."""


class CommandLineError(SundogError):
    """The command line cannot do what was asked."""


class UserCodeError(SundogError):
    """Code of the job, or of a stranger's plugin, raised an exception.

    Cause: the exception named in the message; the place is the last line of the job's own code on its way.

    Cure: look at the named line; `sundog simulate JOB -n 2` runs the same code in one process, where breakpoint() works.
    """

    code = "SD-4090"


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """An error as it travels: what a record keeps and a report shows.

    Its texts are short whoever said it, also when it is read from a message or a record; of a longer trace the end is kept.
    They can be encoded: what is no Unicode, as in a file's name that is not UTF-8, is there as an escape.
    """

    code: str
    what: str
    where: str = ""
    cure: str = ""
    site: str = ""
    component: str = ""
    trace: str = ""

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            msgspec.structs.force_setattr(self, "code", UserCodeError.code)
        for name in ("what", "where", "cure", "site", "component"):
            text, most = _encodable(getattr(self, name)), MAX_WHAT_CHARACTERS if name == "what" else MAX_PLACE_CHARACTERS
            # a text that was cut before stays as it is
            msgspec.structs.force_setattr(self, name, cut(text, most) if len(text) > most + _MARK_CHARACTERS else text)
        msgspec.structs.force_setattr(self, "trace", _encodable(self.trace)[-MAX_WHAT_CHARACTERS:])

    @classmethod
    def of(cls, error: BaseException, *, site: str = "", component: str = "") -> Failure:
        """The failure that describes an exception; a stranger's one becomes SD-4090 with the line of the user's code.

        One that came from elsewhere stays what it is.
        """
        if isinstance(error, RemoteError):
            return error.failure
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, SundogError):
            where = error.where or _user_line(error)  # a line of ours would send its reader to the wrong place
            return cls(error.code, error.what, where, error.cure, site, component, trace)
        words = error.msg if isinstance(error, SyntaxError) else error  # its other words are the place
        what = f"{type(error).__name__}: {words}"
        where = _user_line(error) or _last_line(error)
        cure = paragraph(UserCodeError, "Cure")
        return cls(UserCodeError.code, what, where, cure, site, component, trace)

    def __str__(self) -> str:
        at = " ".join(dict.fromkeys(part for part in (self.site, self.component, self.where) if part))
        return f"[{self.code}] {at}: {self.what}" if at else f"[{self.code}] {self.what}"


class RemoteError(SundogError):
    """The other side reported an error; code, place and cure are those of its failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what, where=failure.where, cure=failure.cure)
        self.failure = failure
        self.code = failure.code  # type: ignore[misc]  # each instance carries the code of its cause


def paragraph(kind: type[SundogError], heading: str) -> str:
    """The text behind `heading:` in the page of an error class, on one line; empty when there is none."""
    for block in inspect.cleandoc(kind.__doc__ or "").split("\n\n"):
        if block.startswith(f"{heading}:"):
            return " ".join(block[len(heading) + 1 :].split())
    return ""


def known_errors() -> dict[str, type[SundogError]]:
    """Code → class, of every error class imported so far that declares a code of its own."""
    found: dict[str, type[SundogError]] = {}
    waiting: list[type[SundogError]] = [SundogError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind):
            found[kind.code] = kind
    return dict(sorted(found.items()))


MAX_WHAT_CHARACTERS = 8000
"""What an exception says may hold a whole model; a failure must fit into a message."""
MAX_PLACE_CHARACTERS = 1000
"""The same for a failure's place, cure, site and component."""
_MARK_CHARACTERS = 20
"""What `cut` writes behind a text, at most."""
_CODE = re.compile(r"SD-\d{4}", re.ASCII)
_OURS = str(Path(__file__).resolve().parent.parent)
_FOREIGN = (f"{sys.base_prefix}/", f"{sys.prefix}/")


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _user_line(error: BaseException) -> str:
    """`file:line` of the innermost frame that is neither ours nor of an installed library; empty when there is none.

    The file goes by its place below the folder that it was imported from: a job's code runs from a copy of the job's folder.
    """
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{_as_imported(error.filename)}:{error.lineno}"  # the frames are those of whoever imported it
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not _is_library(frame):
            return f"{_as_imported(frame.filename)}:{frame.lineno}"
    return ""


def _last_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _as_imported(file: str) -> str:
    folders = [Path(folder) for folder in sys.path if folder and file.startswith(f"{folder}/")]
    nearest = max(folders, key=lambda folder: len(folder.parts), default=None)
    return str(Path(file).relative_to(nearest.parent)) if nearest is not None else file


def _is_library(frame: Any) -> bool:
    if frame.filename.startswith("<"):  # such as the constructor that a dataclass makes
        return True
    path = str(Path(frame.filename).resolve())
    ours = any(path.startswith(f"{_OURS}/{part}/") for part in ("kernel", "transports", "components", "workflows", "kits"))
    return ours or path.startswith(_FOREIGN)
