"""What do participants give each other? A Shareable: a kind, named tensors, and meta (JSON values).

It is FLARE's Shareable and DXO in one. Its tensors may lie in a file and are read when they are asked for. A Shareable is
never changed in place; `replace` makes the next one.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .blobs import Blob
from .errors import ComponentError, PayloadError
from .lazy_tensors import Tensors

__all__ = ["Kind", "MalformedShareable", "NotAShareable", "Shareable", "Tensors", "given"]

MAX_META_BYTES = 1024 * 1024
MAX_META_DEPTH = 32


class MalformedShareable(PayloadError):
    """A Shareable's kind, meta or members are not what they must be.

    Cause: a value in meta that is no JSON value (numbers of numpy are fine, arrays are not), or a damaged message.

    Cure: put arrays into the tensors; in meta keep None, bool, int, float, str, list and dict.
    """

    code = "SD-1211"


class NotAShareable(ComponentError):
    """A method of a component must give a Shareable, and gave something else.

    Cause: its `return` is missing, or it returns the arrays as they are.

    Cure: let it end with `return Shareable("WEIGHTS", arrays, {"num_examples": count})`, or with what it was given, changed.
    """

    code = "SD-3004"


class StateRefused(ComponentError):
    """What a trainer wants to keep for its next task cannot be a state.

    Cause: `ctx.state`, `site.state` or `ctx.checkpoint` was given something else than a Shareable or a dict of arrays.

    Cure: give a dict, name → array; numbers and texts go into the meta of a Shareable: `Shareable("WEIGHTS", arrays, {"epoch": 3})`.
    """

    code = "SD-3170"


class Kind(enum.StrEnum):
    """What a Shareable holds (FLARE: DataKind)."""

    WEIGHTS = "WEIGHTS"
    WEIGHT_DIFF = "WEIGHT_DIFF"
    METRICS = "METRICS"
    MODEL = "MODEL"
    ANALYTIC = "ANALYTIC"
    COLLECTION = "COLLECTION"


_encode_meta = msgspec.msgpack.Encoder(order="deterministic").encode
_encode_shared = _encode_meta
_decode_shared = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_meta = msgspec.msgpack.Decoder(tuple[Kind, dict[str, Any]]).decode


class Shareable:
    """A kind, tensors and meta. Meta is copied, numbers of numpy become Python's, tuples become lists.

    Well-known meta: "num_examples" (what a weighted mean weighs with), "metrics" (name → number).

    Raises:
        MalformedShareable: a value in meta, a kind or members that cannot be.
        UnsupportedTensor: a tensor of a dtype that has no place in a payload.
    """

    __slots__ = ("kind", "meta", "tensors")

    def __init__(self, kind: Kind | str, tensors: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None) -> None:
        if str(kind) not in Kind.__members__ or not isinstance(meta, Mapping | None):
            raise MalformedShareable(f"wanted one of {', '.join(Kind)} and a meta, got {str(kind)[:80]!r} and a {type(meta).__name__}")
        self.kind = Kind(kind)
        self.tensors = tensors if isinstance(tensors, Tensors) else Tensors(tensors)
        self.meta: dict[str, Any] = _json(meta or {}, "meta", 0)
        _check_meta(self.meta)
        if self.kind is Kind.COLLECTION:
            self.members()

    @classmethod
    def of_blob(cls, kind: Kind | str, blob: Blob, meta: Mapping[str, Any] | None = None, *, mapped: bool = False) -> Shareable:
        """A Shareable whose tensors lie in a blob; `mapped`: its arrays are mapped copy-on-write instead of read."""
        return cls(kind, Tensors.of_blob(blob, mapped=mapped), meta)

    @classmethod
    def collection(cls, members: Mapping[str, Shareable], meta: Mapping[str, Any] | None = None) -> Shareable:
        """Several in one: the tensors are called `member/tensor`, meta["members"] keeps each one's kind and meta."""
        named = [member.tensors.rename(f"{name}/".__add__) for name, member in members.items()]
        described = {name: {"kind": member.kind, "meta": member.meta} for name, member in members.items()}
        return cls(Kind.COLLECTION, Tensors().join(*named), {**(meta or {}), "members": described})

    def members(self) -> dict[str, Shareable]:
        """The members of a COLLECTION, in name order; nothing is read."""
        described = self.meta.get("members")
        if self.kind is not Kind.COLLECTION or not isinstance(described, dict) or any("/" in member for member in described):
            raise MalformedShareable(f'wanted a COLLECTION with meta["members"], whose names have no slash, got {self.kind}')
        names: dict[str, list[str]] = {member: [] for member in sorted(described)}
        for tensor in self.tensors:
            member, slash, _ = tensor.partition("/")
            if not slash or member not in names:
                raise MalformedShareable('wanted a name member/tensor with a member of meta["members"]', where=f"tensor {tensor!r}")
            names[member].append(tensor)
        return {member: self._member(described[member], tensors) for member, tensors in names.items()}

    def _member(self, described: Any, tensors: list[str]) -> Shareable:
        if not isinstance(described, dict) or not described.keys() <= {"kind", "meta"}:
            raise MalformedShareable(f"wanted a kind and a meta for each member, got {described!r}"[:200])
        selected = self.tensors.select(tensors).rename(lambda tensor: tensor.partition("/")[2])
        return Shareable(described.get("kind", ""), selected, described.get("meta"))

    @property
    def num_examples(self) -> float | None:
        """How many examples it stands for; None when it does not say."""
        return self.meta.get("num_examples")

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers it reports; empty when there are none."""
        return dict(self.meta.get("metrics") or {})

    def replace(
        self, *, kind: Kind | str | None = None, tensors: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> Shareable:
        """The same with another kind, other tensors or another meta."""
        return Shareable(kind or self.kind, self.tensors if tensors is None else tensors, self.meta if meta is None else meta)

    def blob(self, folder: Path | None = None) -> Blob:
        """Its tensors as a canonical blob, packed at most once (into `folder`, default: the scratch folder)."""
        return self.tensors.blob(folder)

    def encode_meta(self) -> bytes:
        """Kind and meta for a message; equal ones give equal bytes.

        Raises:
            MalformedShareable: more than 1 MiB.
        """
        data = _encode_meta([self.kind, self.meta])
        if len(data) > MAX_META_BYTES:
            raise MalformedShareable(f"meta of {len(data):,} bytes is larger than {MAX_META_BYTES:,}; put arrays into the tensors")
        return data

    @classmethod
    def decode(cls, encoded_meta: bytes, blob: Blob, *, mapped: bool = False) -> Shareable:
        """What `encode_meta` and `blob` were made from.

        Raises:
            PayloadError: one of the two is malformed.
        """
        if len(encoded_meta) > MAX_META_BYTES:
            raise MalformedShareable(f"meta of {len(encoded_meta):,} bytes is larger than {MAX_META_BYTES:,}")
        try:
            kind, meta = _decode_meta(encoded_meta)
        except (ValueError, RecursionError) as exc:
            raise MalformedShareable(f"meta cannot be read: {exc}") from exc
        return cls.of_blob(kind, blob, meta, mapped=mapped)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shareable):
            return NotImplemented
        return self.encode_meta() == other.encode_meta() and self.tensors == other.tensors

    __hash__ = None  # type: ignore[assignment]  # equal by content

    def __repr__(self) -> str:
        return f"<Shareable {self.kind}, {len(self.tensors)} tensors, {self.tensors.size_bytes:,} bytes, meta {sorted(self.meta)}>"


def encode_shared(values: Mapping[str, Any]) -> bytes:
    """Values that travel beside a Shareable, for a message; empty when there are none.

    Raises:
        MalformedShareable: one of them is not a JSON value, or they are more than 1 MiB.
    """
    data = _encode_shared(_json(values, "shared", 0)) if values else b""
    if len(data) > MAX_META_BYTES:
        raise MalformedShareable(f"shared values of {len(data):,} bytes are larger than {MAX_META_BYTES:,}; put arrays into the model")
    return data


def decode_shared(data: bytes) -> dict[str, Any]:
    """What `encode_shared` was given.

    Raises:
        MalformedShareable: it is not an encoded mapping.
    """
    try:
        return _decode_shared(data) if data else {}
    except (ValueError, RecursionError) as exc:
        raise MalformedShareable(f"shared values cannot be read: {exc}") from exc


def given(value: object, by: object, method: str) -> Shareable:
    """What a method of a component gave.

    Raises:
        NotAShareable: it is none; the place is the method.
    """
    if isinstance(value, Shareable):
        return value
    raise NotAShareable(f"wanted a Shareable, got {_described(value)}", where=f"{type(by).__module__}.{type(by).__qualname__}.{method}")


def as_state(value: Shareable | Mapping[str, Any], of: str) -> Shareable:
    """A state as job code gives it; a dict of arrays becomes WEIGHTS.

    Raises:
        StateRefused: it is neither, or something in the dict is no array; says which state it is `of`.
    """
    if isinstance(value, Shareable):
        return value
    if not isinstance(value, Mapping):
        raise StateRefused(f"{of}: wanted a Shareable or a dict, name → array, got {_described(value)}")
    try:
        return Shareable(Kind.WEIGHTS, value)
    except PayloadError as exc:  # its place is a tensor; the user wants to see a line
        raise StateRefused(f"{of}: {exc.where}: {exc.what}") from exc


def _described(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _json(value: Any, where: str, depth: int) -> Any:
    """A deep copy that consists of JSON values (NaN and infinity included) and nothing else."""
    if isinstance(value, np.generic):
        value = value.item()
    if depth > MAX_META_DEPTH:
        raise MalformedShareable(f"deeper than {MAX_META_DEPTH} levels", where=where[:200])
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [_json(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): _json(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    raise MalformedShareable(f"wanted a JSON value, got {type(value).__name__} {str(value)[:80]!r}", where=where[:200])


def _check_meta(meta: Mapping[str, Any]) -> None:
    """The well-known keys hold what their properties promise."""
    count, metrics = meta.get("num_examples"), meta.get("metrics")
    if count is not None and (not _is_number(count) or not 0 <= count < math.inf):
        raise MalformedShareable(f"wanted a finite number from 0 on, got {count!r}", where="meta.num_examples")
    if metrics is not None and not (isinstance(metrics, dict) and all(map(_is_number, metrics.values()))):
        raise MalformedShareable(f"wanted name: number pairs, got {str(metrics)[:80]}", where="meta.metrics")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
