"""What is wrong with a config file, and where? All of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import SpecError, SundogError
from .wording import did_you_mean


class SpecErrors(SpecError):
    """Config files have mistakes; the message lists all of them.

    Cause: each line has a code and a place of its own.

    Cure: mend them; `sundog explain` with the code of a line tells more, `sundog job check JOB` looks again.
    """

    code = "SD-1101"

    def __init__(self, findings: Iterable[SundogError]) -> None:
        self.findings = tuple(findings)
        count = len(self.findings)
        super().__init__(f"{count} mistake{'' if count == 1 else 's'}:" + "".join(f"\n  {finding}" for finding in self.findings))


class UnknownKey(SpecError):
    """A key or an argument that nobody reads.

    Cause: a typing mistake, or an argument of another class or version.

    Cure: take the name that the message suggests, or remove it; `sundog schema` prints what there is.
    """

    code = "SD-1102"


class Findings:
    """Mistakes and notes about one file, each kept once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._errors: dict[str, SundogError] = {}
        self._notes: dict[str, None] = {}

    @property
    def errors(self) -> list[SundogError]:
        """The mistakes, in order of finding; `where` is `file: json.path[0]`."""
        return list(self._errors.values())

    @property
    def notes(self) -> list[str]:
        """What is left out because it is not needed here; no mistakes."""
        return list(self._notes)

    def add(self, kind: type[SundogError], at: str, what: str) -> None:
        """Keep a mistake at a JSON path."""
        self.take(kind(what), at)

    def take(self, error: SundogError, at: str) -> None:
        """Keep an error that was caught, as one of this file's."""
        error.where = f"{self.file}: {at}" if at else self.file
        self._errors.setdefault(str(error), error)

    def note(self, at: str, what: str) -> None:
        """Keep a remark."""
        self._notes[f"{self.file}: {at}: {what}"] = None

    def check_keys(self, got: Mapping[str, Any], known: Iterable[str], at: str, foreign: Mapping[str, str] | None = None) -> None:
        """Refuse keys that nobody reads. `foreign`: keys of FLARE 2.1 → why they are not needed here; they give a note."""
        names = list(known)
        for key in got:
            place = f"{at}.{key}".lstrip(".")
            if foreign and key in foreign:
                self.note(place, f"not needed here: {foreign[key]}")
            elif key not in names:
                self.add(UnknownKey, place, f"nobody reads the key {key!r}{did_you_mean(key, names)}")

    def refuse(self) -> None:
        """Go on if nothing is wrong. Raises: as `refuse`."""
        refuse(self.errors)


def refuse(mistakes: Sequence[SundogError]) -> None:
    """Go on if there are no mistakes.

    Raises:
        SundogError: the only one, with its own code, place and cure.
        SpecErrors: it lists all of them.
    """
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise SpecErrors(mistakes)
