"""How a Shareable leaves a job process and comes into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.kernel.blobs import Blob
from sundog.kernel.errors import PayloadError
from sundog.kernel.messages import Payload, split_body
from sundog.kernel.shareable import Kind, MalformedShareable, Shareable
from sundog.kits.job.payloads import Sender, unpack

SMALL = Shareable(Kind.WEIGHTS, {"w": np.arange(3.0)}, {"num_examples": 3})
LARGE = Shareable(Kind.WEIGHTS, {"w": np.arange(20_000.0)})


def arrived(folder: Path, payload: Payload, parts: list[bytes]) -> tuple[Shareable | None, dict[str, Any]]:
    return unpack(folder, payload, *split_body([payload], b"".join(parts))[0])


def received(folder: Path, payload: Payload, parts: list[bytes]) -> Shareable | None:
    return arrived(folder, payload, parts)[0]


def test_a_small_one_rides_in_the_body(tmp_path: Path) -> None:
    payload, parts = Sender(tmp_path).payload(SMALL, {})

    assert payload.is_inline
    assert list(tmp_path.iterdir()) == []
    assert received(tmp_path, payload, parts) == SMALL


def test_a_large_one_is_a_file_by_its_name(tmp_path: Path) -> None:
    payload, parts = Sender(tmp_path).payload(LARGE, {})

    assert not payload.is_inline
    assert [path.name for path in tmp_path.iterdir()] == [payload.name]
    assert (tmp_path / payload.name).stat().st_size == payload.size_bytes
    assert received(tmp_path, payload, parts) == LARGE


def test_a_result_that_is_the_state_too_is_two_files_since_each_is_taken_away(tmp_path: Path) -> None:
    sender = Sender(tmp_path)

    first, _ = sender.payload(LARGE, {})
    (tmp_path / first.name).unlink()
    second, parts = sender.payload(LARGE, {})

    assert first.sha256 == second.sha256
    assert received(tmp_path, second, parts) == LARGE


def test_what_the_supervisor_has_goes_by_its_hash_alone(tmp_path: Path) -> None:
    sender = Sender(tmp_path)
    sender.payload(LARGE, {})
    sender.handed([LARGE])

    assert sender.payload(LARGE, {})[0].name == ""
    sender.handed([SMALL], only=True)
    assert sender.payload(LARGE, {})[0].name != ""


@pytest.mark.parametrize("model", [SMALL, LARGE, None], ids=["small", "large", "no model"])
@pytest.mark.parametrize("shared", [{}, {"lr": 0.1, "names": ["a"]}], ids=["nothing shared", "shared"])
def test_shared_values_travel_beside_a_model_or_without_one(tmp_path: Path, model: Shareable | None, shared: dict[str, object]) -> None:
    payload, parts = Sender(tmp_path).payload(model, shared)

    assert arrived(tmp_path, payload, parts) == (model, shared)
    assert payload.has_blob == (model is not None)


@pytest.mark.parametrize("front", [b"\xc1", b"\x93", b"\x01"], ids=["not msgpack", "cut", "not a mapping"])
def test_shared_values_that_cannot_be_read_are_a_payload_error(tmp_path: Path, front: bytes) -> None:
    with pytest.raises(PayloadError, match="shared values cannot be read"):
        unpack(tmp_path, Payload(len(front), shared_bytes=len(front)), front, None)


def test_shared_values_that_are_not_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedShareable, match="wanted a JSON value, got ndarray"):
        Sender(tmp_path).payload(SMALL, {"lr": np.zeros(2)})


def test_equal_tensors_have_one_hash_whatever_the_meta(tmp_path: Path) -> None:
    sender = Sender(tmp_path)

    assert sender.payload(LARGE, {})[0].sha256 == sender.payload(LARGE.replace(meta={"round": 3}), {"a": 1})[0].sha256


def test_a_received_result_can_be_sent_on_without_being_handed_over_again(tmp_path: Path) -> None:
    """A relay: the supervisor has the file already."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    sender = Sender(tmp_path / "out")
    path = LARGE.blob(tmp_path / "in").save(tmp_path / "in" / "file")
    payload = Payload(len(LARGE.encode_meta()), Blob.open(path).sha256, path.stat().st_size, "file")

    result = sender.receive(tmp_path / "in", payload, LARGE.encode_meta())

    assert sender.payload(result[0], {})[0].name == ""
    assert list((tmp_path / "out").iterdir()) == []
