"""Interrupts come where they are allowed, once."""

from __future__ import annotations

import signal

import pytest

from sundog.kits.supervisor.interrupts import Interrupts


def test_one_that_comes_elsewhere_waits_for_a_place_where_it_is_allowed() -> None:
    reached = []
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        reached.append("begun")
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            reached.append("never")

    assert reached == ["begun"]


def test_only_the_first_one_is_raised() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            signal.raise_signal(signal.SIGTERM)
        with interrupts.allowed():
            signal.raise_signal(signal.SIGINT)  # what is undone is undone to its end


def test_afterwards_the_handlers_are_those_from_before() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before
