"""Is this text one JSON document that means the same to everybody?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from ...kernel.errors import SpecError

MAX_DEPTH = 64
"""How deeply objects and lists may be nested."""


class NotJson(SpecError):
    """A file is not JSON, or is nested too deeply.

    Cause: a typing mistake, such as a comma after the last item or a missing quote.

    Cure: look at the line and column in the message.
    """

    code = "SD-1103"


class DuplicateKey(SpecError):
    """An object in a JSON file has the same key twice, so one of the two values would be lost.

    Cause: a line copied and not changed.

    Cure: remove one of the two.
    """

    code = "SD-1104"


def load_json(text: str | bytes, file: str) -> Any:
    """The document in a text. `file` is named in messages.

    Raises:
        NotJson: with line and column.
        DuplicateKey: with the JSON path of the key.
    """
    try:
        document = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_refuse)
        twice = next(_duplicates(document, "", MAX_DEPTH), None)
    except json.JSONDecodeError as error:
        raise NotJson(f"{_words(error)} (line {error.lineno}, column {error.colno})", where=file) from error
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error), where=file) from error
    if twice is not None:
        raise DuplicateKey("the key is there twice", where=f"{file}: {twice.lstrip('.')}")
    return document


class _Pairs(dict[str, Any]):
    """A JSON object that remembers which keys came twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = [name for name in self if names.count(name) > 1] if len(names) > len(self) else []


def _duplicates(value: Any, at: str, depth: int) -> Iterator[str]:
    if not depth:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, _Pairs):
        yield from (f"{at}.{name}" for name in value.twice)
        for name, item in value.items():
            yield from _duplicates(item, f"{at}.{name}", depth - 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{at}[{index}]", depth - 1)


def _words(error: json.JSONDecodeError) -> str:
    closing = error.doc[error.pos : error.pos + 1]
    if closing in ("]", "}") and error.doc[: error.pos].rstrip().endswith(","):
        return f"a comma before {closing}, where another item is expected"
    return error.msg


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")
