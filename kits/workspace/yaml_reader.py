"""What does a YAML file say, if it may say no more than JSON can?"""

from __future__ import annotations

import re
from typing import Any

import yaml

from .json_reader import DuplicateKey
from .unreadable import DocumentUnreadable


class _Reader(yaml.SafeLoader):
    """YAML 1.2's core schema: `no` is a string, 1e-4 a number, a date a string; no anchors, no merge keys, no tags."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # PyYAML keeps its table on the class; ours starts empty

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor or (tag and tag != "!"):  # "!" says: this scalar is a string
            raise yaml.MarkedYAMLError(problem="anchors and tags are not read", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # PyYAML's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"wanted a string as key, got {key!r}", problem_mark=key_node.start_mark)
            if key in seen:
                raise _Twice(problem=key, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Twice(yaml.MarkedYAMLError):
    """A key stands twice."""


_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _construct_int(loader: _Reader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


_Reader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def load_yaml(text: str, file: str) -> Any:
    """The value of a YAML text, made of what JSON has; messages call it `file`.

    Raises:
        DocumentUnreadable: wrong syntax, several documents, anchors or tags.
        DuplicateKey: some mapping has one key twice.
    """
    try:
        return _Reader(text).get_single_data()
    except _Twice as exc:
        raise DuplicateKey(f"the key {exc.problem!r} is there a second time{_place(exc)}", where=file) from exc
    except yaml.MarkedYAMLError as exc:
        raise DocumentUnreadable(f"{exc.problem}{_place(exc)}", where=file) from exc
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: a number of thousands of digits
        raise DocumentUnreadable(f"it is no YAML: {exc}", where=file) from exc
    except RecursionError as exc:
        raise DocumentUnreadable("it is nested too deeply", where=file) from exc


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
