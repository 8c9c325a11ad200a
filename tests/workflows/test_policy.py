from __future__ import annotations

import itertools
from typing import Any, Literal

import pytest

from sundog.kernel.errors import Failure
from sundog.kernel.roles import Responses, Wait
from sundog.workflows.policy import PolicyFailed, PolicyMalformed, SitesPolicy

SITES = ("site-1", "site-2", "site-3")
REQUIREMENTS: list[Any] = ["all", 1, 2, ["site-1", "site-2"]]


def responses(answered: int, lost: int) -> Responses:
    """Of three sites, the first have answered, the last are lost; who is between may still answer."""
    return Responses(SITES, SITES[:answered], dict.fromkeys(SITES[3 - lost :], "is gone"))


@pytest.mark.parametrize("require", REQUIREMENTS, ids=str)
@pytest.mark.parametrize("on_missing", ["fail", "continue"])
@pytest.mark.parametrize(("answered", "lost"), [(a, b) for a, b in itertools.product(range(4), repeat=2) if a + b <= 3])
def test_a_policy_does_what_its_sentence_says(require: Any, on_missing: Literal["fail", "continue"], answered: int, lost: int) -> None:
    policy = SitesPolicy(require, on_missing=on_missing)
    sentence = policy.describe()
    state = responses(answered, lost)
    slow = 3 - answered - lost

    needed = {"all": 3, "1": 1, "2": 2, "site-1": 2}[sentence.split()[3]]
    waits_for_others = "then waits 60 s for the others" in sentence
    if answered >= needed:
        expected = Wait.GRACE if slow else Wait.DONE
        assert waits_for_others or not slow
    elif answered + slow >= needed:
        expected = Wait.ON
    elif "the run fails" in sentence:
        expected = Wait.FAIL
    else:
        assert "goes on with the sites that answer" in sentence
        expected = Wait.ON if slow else Wait.DONE if answered else Wait.FAIL

    assert policy.decide(state) is expected
    assert policy.decide_after_grace(state) is (Wait.DONE if expected is Wait.GRACE else expected)


SENTENCES = [
    (SitesPolicy(), "all its sites", "the run fails"),
    (SitesPolicy(2, grace_seconds=10), "2 of its sites, then waits 10 s for the others", "the run fails"),
    (SitesPolicy(["a"], on_missing="continue"), "a, then waits 60 s for the others", "it goes on with the sites that answer"),
    (SitesPolicy([*"abc"], grace_seconds=0), "a, b and c, and does not wait for others", "the run fails"),
]


@pytest.mark.parametrize(("policy", "needed", "missing"), SENTENCES)
def test_the_sentence(policy: SitesPolicy, needed: str, missing: str) -> None:
    words = f"every step needs {needed}; if that becomes impossible, {missing}; a result that comes too late is discarded"

    assert policy.describe() == words


def test_a_named_site_that_was_not_asked_makes_the_requirement_impossible() -> None:
    assert SitesPolicy(["site-9"]).decide(responses(0, 0)) is Wait.FAIL


@pytest.mark.parametrize("arguments", [{"require": 0}, {"require": []}, {"require": -1}, {"grace_seconds": -1}])
def test_a_policy_that_cannot_be_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(PolicyMalformed, match="wanted require >= 1"):
        SitesPolicy(**arguments)


def test_the_error_names_who_is_missing_and_why_and_the_first_cause() -> None:
    first = Failure("SD-4090", "ValueError: boom", "train.py:3", site="site-2")
    state = Responses(SITES, ("site-1",), {"site-2": f"failed: {first}"})

    error = PolicyFailed("train", SitesPolicy(3).describe(), state, first=first)

    assert str(error).startswith(
        "[SD-3001] train.py:3: site-2 failed: [SD-4090] site-2 train.py:3: ValueError: boom; site-3 has not answered; "
        "task 'train' has 1 of 3 results, but every step needs 3 of its sites"
    )
    assert error.failure() is first
    assert PolicyFailed("train", "…", state).failure().code == "SD-3001"
