"""Is this text one JSON document that means the same to everybody?"""

import pytest

from sundog.kits.workspace.json_reader import DuplicateKey, NotJson, load_json


def test_a_document_is_plain_data() -> None:
    assert load_json('{"a": [1, {"b": null}]}', "f.json") == {"a": [1, {"b": None}]}


def test_a_key_that_is_there_twice_is_refused_with_its_path() -> None:
    """T043: the message has file and JSON path."""
    with pytest.raises(DuplicateKey, match=r"f.json: components\[1\].args.rate: the key is there twice"):
        load_json('{"components": [{}, {"args": {"rate": 1, "rate": 2}}]}', "f.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,}', r"f.json: a comma before }, where another item is expected \(line 1, column 9\)"),
        ('{"a": [1,\n ]}', r"f.json: a comma before \], where another item is expected \(line 2, column 2\)"),
        ('{"a": ]', r"f.json: Expecting value \(line 1, column 7\)"),
        ("", "line 1, column 1"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        (b"\xff", "utf-8"),
    ],
)
def test_what_is_not_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(NotJson, match=message):
        load_json(text, "f.json")


@pytest.mark.parametrize("depth", [65, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(NotJson, match=r"nested deeper|recursion"):
        load_json("[" * depth + "]" * depth, "f.json")
