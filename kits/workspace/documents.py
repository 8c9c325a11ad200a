"""What does a JSON or YAML file say, and where exactly is it wrong?

Both forms give the same data. What they leave open is closed: a key that stands twice, NaN, YAML's anchors, dates and
`no` for false are not taken silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from ...kernel.errors import SpecError
from ...kernel.findings import Findings
from ...kernel.wording import reason_of
from .json_reader import DuplicateKey, load_json
from .unreadable import DocumentUnreadable

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_SUFFIXES = (".json", ".yml", ".yaml")

T = TypeVar("T", bound=msgspec.Struct)


class ValueRefused(SpecError):
    """A key is missing in a file, or its value has another type or range than the one wanted.

    Cause: the file was written by hand, or for another version.

    Cure: correct the value named in the message; `sundog schema` prints what each file may hold.
    """

    code = "SD-1145"


@dataclass(frozen=True, slots=True)
class Document:
    """What one file says: its data, and how messages call it."""

    file: str
    data: dict[str, Any]


def find_document(folder: Path, stem: str) -> Path | None:
    """`stem` with .json, .yml or .yaml in a folder; None if there is none.

    Raises:
        DocumentUnreadable: there are two, so that nobody could tell which one counts.
    """
    found = [path for path in (folder / f"{stem}{suffix}" for suffix in _SUFFIXES) if path.is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DocumentUnreadable(f"wanted one of them, got {names}", where=str(folder), cure="Remove the one that is out of date.")
    return found[0] if found else None


def read_document(path: Path, file: str = "") -> Document:
    """The object in a JSON or YAML file; messages call it `file`, else by its path.

    Raises:
        DocumentUnreadable: no file, too large, no UTF-8, not YAML, or no object at the top.
        NotJson: a slip in JSON, with line and column.
        DuplicateKey: some object has one key twice, with line and column.
    """
    file = file or str(path)
    text = _read_text(path, file)
    if path.suffix == ".json":
        data = _load_json(text, file)
    else:
        from .yaml_reader import load_yaml  # 25 ms that only users of YAML pay

        data = load_yaml(text, file)
    if not isinstance(data, dict):
        raise DocumentUnreadable(f"wanted an object at the top, got {type(data).__name__}", where=file)
    return Document(file, dict(data))


def typed(document: Document, kind: type[T], findings: Findings, foreign: Mapping[str, str]) -> T | None:
    """A document as a struct; what is wrong goes to the findings, and then there is None.

    Args:
        document: what was read.
        kind: its fields are the keys; those without a default are required.
        findings: take mistakes, and notes on foreign keys.
        foreign: keys that FLARE knows and that are not needed here → why.
    """
    before = len(findings.errors)
    data = {key: value for key, value in document.data.items() if key != "$schema"}  # that one is for editors
    _check_keys(data, kind, findings, "", foreign)
    try:
        struct = msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        what, _, path = str(exc).replace("`", "").partition(" - at $")
        joint = ": " if ", got" in what else ", got "
        got = _got(data, path)
        findings.add(ValueRefused, path.lstrip("."), f"{what[0].lower()}{what[1:]}{joint if got else ''}{got}")
        return None
    return struct if len(findings.errors) == before else None


def _read_text(path: Path, file: str) -> str:
    try:
        if (size := path.stat().st_size) > MAX_DOCUMENT_BYTES:
            raise DocumentUnreadable(f"wanted at most {MAX_DOCUMENT_BYTES} bytes, got {size}", where=file)
        return path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark there
    except OSError as exc:
        raise DocumentUnreadable(reason_of(exc), where=file) from exc
    except UnicodeDecodeError as exc:
        raise DocumentUnreadable(f"wanted UTF-8, got the byte 0x{exc.object[exc.start]:02x} at {exc.start}", where=file) from exc


def _load_json(text: str, file: str) -> Any:
    try:
        return load_json(text, file)
    except DuplicateKey as exc:
        key, line, column = _find_duplicate(text)
        raise DuplicateKey(f"the key {key!r} is there a second time (line {line}, column {column})", where=exc.where) from exc


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]')


def _find_duplicate(text: str) -> tuple[str, int, int]:
    """Key, line and column of the first key that repeats, in a text known to be JSON; a key follows `{` or an object's `,`."""
    seen: list[set[str] | None] = []  # for each open bracket: the keys so far, None for a list
    at_key = False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "{[":
            seen.append(set() if token == "{" else None)
        elif token in "}]":
            seen.pop()
        elif at_key and (keys := seen[-1]) is not None:
            key = json.loads(token)
            if key in keys:
                return key, text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
            keys.add(key)
        at_key = token in "{,"
    raise AssertionError("load_json saw a key twice")


def _check_keys(data: Any, kind: type[msgspec.Struct], findings: Findings, at: str, foreign: Mapping[str, str]) -> None:
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind)
    findings.check_keys(data, fields, at, foreign)
    for key in data.keys() & fields.keys():
        hint = hints[fields[key]]
        inner = next((part for part in (hint, *get_args(hint)) if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
        if inner is not None and isinstance(data[key], dict):
            _check_keys(data[key], inner, findings, f"{at}.{key}".lstrip("."), {})


def _got(data: Any, path: str) -> str:
    """The value at msgspec's path (`.limits.max_sites`, `.sites[0]`), for a message; `[...]` stands for some key of a map."""
    try:
        for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
            data = data[int(index)] if index else data[key]
    except (KeyError, IndexError, TypeError):
        return ""
    is_named = "[...]" in path or not isinstance(data, dict)
    return json.dumps(data, default=str)[:80] if path and is_named else ""
