"""The line between a participant and the program that started it."""

from __future__ import annotations

import asyncio
import os

import pytest

from sundog.kits.supervisor.lifeline import Lifeline, Starter


def pair() -> tuple[Starter, Lifeline]:
    starter = Starter()
    lifeline = Lifeline(os.dup(starter.theirs))
    starter.hand_over()
    return starter, lifeline


async def test_readiness_is_told_with_the_place() -> None:
    starter, lifeline = pair()

    lifeline.tell_ready("tcp://localhost:8002 tcp://localhost:8003")

    assert starter.wait_ready(20.0) == "tcp://localhost:8002 tcp://localhost:8003"
    starter.close()
    await watched(lifeline)


async def test_a_refusal_is_told_once_on_one_line_behind_the_readiness() -> None:
    starter, lifeline = pair()

    lifeline.tell_ready("zmq://localhost:8002")
    lifeline.tell_refused("[SD-2103] another\nproject")
    lifeline.tell_refused("again")
    lifeline._socket.close()

    assert starter.wait_ready(20.0) == "zmq://localhost:8002"
    assert starter.refusal() == "[SD-2103] another project"
    assert starter.refusal() == ""
    starter.close()


async def watched(lifeline: Lifeline, seconds: float = 20.0) -> bool:
    """Whether the participant hears that its starter is gone."""
    lost = asyncio.Event()
    lifeline.watch(lost.set)
    try:
        await asyncio.wait_for(lost.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def test_a_starter_that_is_gone_is_noticed() -> None:
    starter, lifeline = pair()
    starter.close()

    assert await watched(lifeline)


async def test_a_participant_that_is_to_stay_is_not_ended_by_the_end_of_the_line() -> None:
    starter, lifeline = pair()
    starter.stay()

    assert not await watched(lifeline, 0.05)


async def test_half_a_word_is_none() -> None:
    starter, lifeline = pair()
    starter._socket.send(b"sta")
    starter.close()

    assert await watched(lifeline)


async def test_a_participant_that_ends_first_is_noticed() -> None:
    starter, lifeline = pair()
    lifeline._socket.close()

    assert starter.wait_ready(20.0) is None
    starter.close()


def test_one_that_says_nothing_is_given_up() -> None:
    starter, lifeline = pair()

    with pytest.raises(TimeoutError):
        starter.wait_ready(0.01)
    starter.close()
    lifeline._socket.close()
