"""What travels of an error: few words, and a place that is the user's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from sundog.kernel.errors import MAX_WHAT_CHARACTERS, Failure, JobError
from sundog.kernel.importing import ImportBroke, MalformedTarget, import_class, split_target


@pytest.mark.parametrize("kind", [ValueError, JobError])
def test_a_failure_is_short_whatever_an_exception_says(kind: type[Exception]) -> None:
    """A whole model may stand in a message of numpy's; a failure that fits into no frame would be heard by nobody."""
    failure = Failure.of(kind("x" * 20_000_000))

    assert len(failure.what) < MAX_WHAT_CHARACTERS + 100
    assert failure.what.endswith("…(+19992000)") or failure.what.endswith("…(+19992012)")
    assert len(failure.trace) < 10_000


def test_a_failure_can_be_encoded_whatever_an_exception_says() -> None:
    """The name of a file need not be UTF-8; an error that cannot be sent leaves the one who waits for it without an answer."""
    name = os.fsdecode(b"caf\xc3\xa9 \xff")

    failure = Failure.of(JobError(name, where=name, cure=name), site=name, component=name)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=Failure) == failure
    assert (failure.what, failure.where) == (r"café \udcff", r"café \udcff")


def test_a_failure_is_short_whoever_says_it() -> None:
    """A site that says megabytes of it must not make a message of the server's too large."""
    said = msgspec.msgpack.encode(["SD-4001", *("x" * 3_000_000 for _ in range(6))])

    heard = msgspec.msgpack.decode(said, type=Failure)

    assert heard.code == "SD-4001"
    assert [len(text) for text in msgspec.structs.astuple(heard)[1:]] == [8011, *[1011] * 4, 8000]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(heard), type=Failure) == heard


@pytest.mark.parametrize("code", ["", "x" * 3_000_000, "SD-400", "SD-40011", "SD-4001\n", "SD-４００１"])
def test_a_code_that_is_none_is_that_of_a_users_error(code: str) -> None:
    assert Failure(code, "what").code == "SD-4090"


def test_an_error_that_no_code_of_the_user_led_to_has_no_place() -> None:
    """A line of ours would send its reader to the wrong file."""
    with pytest.raises(MalformedTarget) as caught:
        split_target("?")
    assert caught.tb is not None

    assert Failure.of(caught.value).where.endswith(f"kernel/test_errors.py:{caught.tb.tb_lineno}")
    assert Failure.of(caught.value.with_traceback(caught.tb.tb_next)).where == ""


def test_a_syntax_error_has_the_place_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are only those of whoever imported it."""
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "slip_h71.py").write_text("x = 1\ny = = 2\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "custom"), *sys.path])

    with pytest.raises(ImportBroke) as caught:
        import_class("slip_h71.Trainer")

    assert caught.value.what == "importing module slip_h71 raised SyntaxError: invalid syntax (custom/slip_h71.py:2)"
