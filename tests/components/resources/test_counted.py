from __future__ import annotations

from typing import Any

import pytest

from sundog.components.resources.counted import ListResourceManager
from sundog.components.resources.missing import ResourcesMissing
from sundog.components.resources.unlimited import AlwaysYes


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> ListResourceManager:
    return ListResourceManager({"gpu": [0, 1], "license": ["x"]}, clock=clock)


def test_a_job_that_wants_one_gpu_sees_one_gpu(manager: ListResourceManager) -> None:
    """T042."""
    first = manager.allocate(manager.check("job-1", {"gpu": 1}))
    second = manager.allocate(manager.check("job-2", {"gpu": 1}))

    assert manager.environment(first) == {"CUDA_VISIBLE_DEVICES": "0"}
    assert manager.environment(second) == {"CUDA_VISIBLE_DEVICES": "1"}


def test_several_gpus_are_listed(manager: ListResourceManager) -> None:
    assert manager.environment(manager.allocate(manager.check("job", {"gpu": 2}))) == {"CUDA_VISIBLE_DEVICES": "0,1"}


def test_a_job_that_wants_none_is_told_nothing(manager: ListResourceManager) -> None:
    assert manager.environment(manager.allocate(manager.check("job", {}))) == {}


def test_a_refusal_names_what_is_free_and_who_holds_the_rest(manager: ListResourceManager) -> None:
    """T042."""
    manager.check("job-1", {"gpu": 1})

    with pytest.raises(ResourcesMissing, match=r"SD-3081\] wanted 2 gpu, 1 of 2 are free \(0 is held by job job-1\)"):
        manager.check("job-2", {"gpu": 2})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"tpu": 1}, "wanted 1 tpu, this site offers none"),
        ({"gpu": 3}, "wanted 3 gpu, 2 of 2 are free"),
        ({"gpu": "2"}, "resource_spec.gpu: wanted a number of units from 0 on, got '2'"),
        ({"gpu": -1}, "got -1"),
        ({"gpu": True}, "got True"),
    ],
)
def test_what_cannot_be_given_is_refused_and_nothing_is_held(manager: ListResourceManager, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ResourcesMissing, match=words):
        manager.check("job", {"license": 1, **spec})

    manager.check("other", {"license": 1, "gpu": 2})


def test_a_reservation_holds_for_thirty_seconds(manager: ListResourceManager, clock: Clock) -> None:
    token = manager.check("job-1", {"gpu": 2})
    clock.seconds = 29.9
    with pytest.raises(ResourcesMissing):
        manager.check("job-2", {"gpu": 1})

    clock.seconds = 30
    manager.check("job-2", {"gpu": 1})

    with pytest.raises(ResourcesMissing, match="the reservation is over: it held for 30 s"):
        manager.allocate(token)


def test_an_allocation_holds_until_it_is_freed(manager: ListResourceManager, clock: Clock) -> None:
    token = manager.check("job-1", {"gpu": 2})
    manager.allocate(token)
    clock.seconds = 1e6
    with pytest.raises(ResourcesMissing):
        manager.check("job-2", {"gpu": 1})

    manager.free(token)
    manager.free(token)

    assert manager.allocate(manager.check("job-2", {"gpu": 2})) == {"gpu": [0, 1]}


def test_a_job_that_asks_again_does_not_hold_twice(manager: ListResourceManager) -> None:
    manager.check("job", {"gpu": 2})
    token = manager.check("job", {"gpu": 1})
    manager.allocate(token)

    assert manager.check("job", {"gpu": 1}) == token
    manager.check("other", {"gpu": 1})


def test_a_job_that_asks_for_the_same_again_renews_its_reservation(manager: ListResourceManager, clock: Clock) -> None:
    token = manager.check("job", {"gpu": 1})
    clock.seconds = 29

    assert manager.check("job", {"gpu": 1}) == token

    clock.seconds = 58
    assert manager.allocate(token) == {"gpu": [0]}


def test_what_is_available_is_neither_reserved_nor_allocated(manager: ListResourceManager, clock: Clock) -> None:
    assert manager.available() == {"gpu": 2, "license": 1}

    manager.allocate(manager.check("job-1", {"gpu": 1}))
    manager.check("job-2", {"license": 1})
    assert manager.available() == {"gpu": 1, "license": 0}

    clock.seconds = 30
    assert manager.available() == {"gpu": 1, "license": 1}


def test_always_yes_says_yes() -> None:
    manager = AlwaysYes()
    token = manager.check("job", {"gpu": 99})

    assert manager.allocate(token) == {}
    manager.free(token)
    assert manager.environment({}) == {}
    assert manager.available() == {}
