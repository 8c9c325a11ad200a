"""JSON and YAML give the same data, or a message that says where they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sundog.kernel.errors import SundogError
from sundog.kernel.findings import Findings
from sundog.kits.workspace.documents import Document, find_document, read_document, typed
from sundog.kits.workspace.json_reader import DuplicateKey
from sundog.kits.workspace.unreadable import DocumentUnreadable


def read(tmp_path: Path, name: str, text: str | bytes) -> dict[str, Any]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path, name).data


JSON = '{"a": {"rate": 1e-4, "on": true, "no": "no"}, "list": [1, -2.5, null, "2024-01-01", "0123x"], "empty": {}}'
YAML = """
a: {rate: 1e-4, on: true, no: no}
list:
  - 1
  - -2.5
  - ~
  - 2024-01-01
  - 0123x
empty: {}
"""


def test_the_same_in_json_and_yaml_gives_the_same_data(tmp_path: Path) -> None:
    """T048: no is a string, 1e-4 a number, a date a string, as in JSON."""
    assert read(tmp_path, "a.yml", YAML) == read(tmp_path, "a.json", JSON)


@pytest.mark.parametrize("name", ["a.json", "a.yml"])
def test_a_byte_order_mark_of_an_editor_does_no_harm(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name, f"\ufeff{JSON}") == read(tmp_path, "b.json", JSON)


def test_json_is_yaml_too(tmp_path: Path) -> None:
    assert read(tmp_path, "a.yaml", JSON) == read(tmp_path, "a.json", JSON)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"x": [{"k": 1}, {"k": 2}],\n "y": {"deep": 1, "z": ["k,{"],\n  "deep": 2}}'),
        ("a.yml", "x: 1\ny:\n  deep: 1\n  z: 2\n  deep: 3\n"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line_and_column(tmp_path: Path, name: str, text: str) -> None:
    place = "line 3, column 3" if name == "a.json" else "line 5, column 3"

    with pytest.raises(DuplicateKey, match=rf"'deep' is there a second time \({place}\)"):
        read(tmp_path, name, text)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"a": 1,}', "line 1, column"),
        ("a.json", '{"a": NaN}', "NaN"),
        ("a.json", "[]", "wanted an object at the top, got list"),
        ("a.json", '{"a":' * 100_000, "a.json"),
        ("a.json", b'{"a": "\xff"}', "wanted UTF-8, got the byte 0xff at 7"),
        ("a.yml", "a: [1", "line 1"),
        ("a.yml", "a: &x 1\nb: *x\n", r"anchors and tags are not read \(line 1, column 4\)"),
        ("a.yml", "a: !!python/object/apply:os.system [ls]", "anchors and tags are not read"),
        ("a.yml", "1: 2", "wanted a string as key, got 1"),
        ("a.yml", "a: 1\n---\nb: 2\n", "line 2"),
        ("a.yml", "[" * 100_000, "nested too deeply"),
        ("a.yml", "- 1", "wanted an object at the top, got list"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    with pytest.raises(SundogError, match=words):
        read(tmp_path, name, text)


def test_a_missing_file_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentUnreadable, match="No such file"):
        read_document(tmp_path / "a.json")
    with pytest.raises(DocumentUnreadable, match="wanted at most"):
        read(tmp_path, "a.json", b" " * 5_000_000)


def test_two_forms_of_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").touch()
    (tmp_path / "meta.yml").touch()

    with pytest.raises(DocumentUnreadable, match=r"wanted one of them, got meta.json and meta.yml"):
        find_document(tmp_path, "meta")
    assert find_document(tmp_path, "other") is None


class Inner(msgspec.Struct, frozen=True):
    size: int = 1


class Outer(msgspec.Struct, frozen=True):
    name: str
    inner: Inner = Inner()
    sizes: list[int] = []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"nam": "x"}, "f: nam: nobody reads the key 'nam'; did you mean 'name'?"),
        ({"name": "x", "inner": {"siz": 2}}, "f: inner.siz: nobody reads the key 'siz'; did you mean 'size'?"),
        ({"name": "x", "sizes": [1, "2"]}, 'f: sizes[1]: expected int, got str: "2"'),
        ({"inner": {}}, "f: object missing required field name"),
    ],
)
def test_a_mistake_is_named_with_place_wanted_and_got(data: dict[str, Any], words: str) -> None:
    findings = Findings("f")

    assert typed(Document("f", data), Outer, findings, {}) is None
    assert words in "\n".join(map(str, findings.errors))


def test_foreign_keys_give_a_note_and_schema_none_is_data() -> None:
    findings = Findings("f")

    found = typed(Document("f", {"name": "x", "old": 1, "$schema": "s"}), Outer, findings, {"old": "it is old"})

    assert found == Outer("x")
    assert findings.notes == ["f: old: not needed here: it is old"]
