"""What a component keeps by its context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sundog.kernel.context import Context, NotKeepable
from sundog.kernel.tasks import Task


def test_a_file_is_kept_by_its_path_below_the_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "best.npy").touch()
    (tmp_path / "by_link").symlink_to("models")
    context = Context(folder=tmp_path)

    context.for_call(task="train", seed=0).keep("models/best.npy")
    context.keep(tmp_path / "models" / "best.npy")
    context.keep("by_link/../models/best.npy")

    assert context.kept == {"models/best.npy"}


@pytest.mark.parametrize("path", ["missing", "models", "link", "../outside", "/etc/hostname", "app/config.json", "log.txt", ".", ""])
def test_what_is_no_plain_file_of_a_component_cannot_be_kept(tmp_path: Path, path: str) -> None:
    run = tmp_path / "run"
    for folder in ("models", "app"):
        (run / folder).mkdir(parents=True)
    for file in ("run/app/config.json", "run/log.txt", "run/plain", "outside"):
        (tmp_path / file).touch()
    (run / "link").symlink_to("plain")
    context = Context(folder=run)

    with pytest.raises(NotKeepable, match="wanted a plain file"):
        context.keep(path)

    assert context.kept == set()


@pytest.mark.parametrize("what", [{"a": 1}, None, 3])
def test_a_note_is_a_text(what: Any) -> None:
    """At the caller's line, not when the commit is encoded."""
    context = Context()

    with pytest.raises(TypeError, match=rf"ctx\.note: wanted a text, got a {type(what).__name__}"):
        context.note(what)

    assert not context.notes


@pytest.mark.parametrize("model", [{"a": 1}, [1.0], "model"])
def test_the_model_of_a_task_is_a_shareable(model: Any) -> None:
    with pytest.raises(TypeError, match=rf"Task 'train': wanted a Shareable as its model, or None, got a {type(model).__name__}"):
        Task("train", model)
