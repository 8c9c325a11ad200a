"""Are the hooks documented as they are, and does every FLARE event have its place?"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from sundog.kernel.context import ObserverHooks
from sundog.kernel.hookspecs import RegisterHooks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text()
HOOKS = {name: function for spec in (RegisterHooks, ObserverHooks) for name, function in vars(spec).items() if not name.startswith("_")}

# FLARE 2.1: apis/event_type.py (34) and app_common/app_event_type.py (43)
FRAMEWORK_EVENTS = """
SYSTEM_START SYSTEM_END ABOUT_TO_START_RUN START_RUN ABOUT_TO_END_RUN END_RUN START_WORKFLOW END_WORKFLOW ABORT_TASK
FATAL_SYSTEM_ERROR FATAL_TASK_ERROR JOB_DEPLOYED JOB_STARTED JOB_COMPLETED JOB_ABORTED JOB_CANCELLED BEFORE_PULL_TASK
AFTER_PULL_TASK BEFORE_PROCESS_SUBMISSION AFTER_PROCESS_SUBMISSION BEFORE_TASK_DATA_FILTER AFTER_TASK_DATA_FILTER
BEFORE_TASK_RESULT_FILTER AFTER_TASK_RESULT_FILTER BEFORE_TASK_EXECUTION AFTER_TASK_EXECUTION BEFORE_SEND_TASK_RESULT
AFTER_SEND_TASK_RESULT CRITICAL_LOG_AVAILABLE ERROR_LOG_AVAILABLE EXCEPTION_LOG_AVAILABLE WARNING_LOG_AVAILABLE
INFO_LOG_AVAILABLE DEBUG_LOG_AVAILABLE
""".split()  # noqa: SIM905  # seventy-seven quoted words say no more
APPLICATION_EVENTS = """
START_ROUND END_ROUND ROUND_STARTED ROUND_DONE BEFORE_AGGREGATION AFTER_AGGREGATION END_AGGREGATION
BEFORE_CONTRIBUTION_ACCEPT AFTER_CONTRIBUTION_ACCEPT RECEIVE_CONTRIBUTION GLOBAL_WEIGHTS_UPDATED INITIAL_MODEL_LOADED
TRAINING_STARTED TRAINING_FINISHED TRAIN_DONE BEFORE_TRAIN AFTER_TRAIN BEFORE_TRAIN_TASK BEFORE_INITIALIZE
AFTER_INITIALIZE BEFORE_SHAREABLE_TO_LEARNABLE AFTER_SHAREABLE_TO_LEARNABLE BEFORE_LEARNABLE_PERSIST
AFTER_LEARNABLE_PERSIST LOCAL_BEST_MODEL_AVAILABLE GLOBAL_BEST_MODEL_AVAILABLE SUBMIT_LOCAL_BEST_MODEL
SERVER_RECEIVE_BEST_MODEL RECEIVE_BEST_MODEL BEFORE_SEND_BEST_MODEL AFTER_SEND_BEST_MODEL CROSS_VAL_INIT
VALIDATION_RESULT_RECEIVED RECEIVE_VALIDATION_MODEL SEND_VALIDATION_RESULTS RECEIVE_VALIDATION_RESULTS
SEND_MODEL_FOR_VALIDATION BEFORE_GET_VALIDATION_MODELS AFTER_GET_VALIDATION_MODELS BEFORE_VALIDATE_MODEL
AFTER_VALIDATE_MODEL BEFORE_SUBMIT_VALIDATION_RESULTS AFTER_SUBMIT_VALIDATION_RESULTS
""".split()  # noqa: SIM905  # seventy-seven quoted words say no more


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_with_its_exact_arguments(name: str) -> None:
    arguments = [argument for argument in inspect.signature(HOOKS[name]).parameters if argument != "self"]

    assert f"`{name}({', '.join(arguments)})`" in PAGE


def test_the_page_documents_no_other_hook() -> None:
    assert set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE)) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_a_docstring_begins_with_when(name: str) -> None:
    assert (HOOKS[name].__doc__ or "").startswith("When ")


def test_every_flare_event_is_in_the_table() -> None:
    assert (len(FRAMEWORK_EVENTS), len(APPLICATION_EVENTS)) == (34, 43)

    rows = re.findall(r"^\| ([A-Z_, ]+) \| (.+) \|$", PAGE, re.MULTILINE)

    listed = [event for names, _ in rows for event in names.split(", ")]
    assert sorted(listed) == sorted(FRAMEWORK_EVENTS + APPLICATION_EVENTS)
    for names, place in rows:
        mapped = re.findall(r"`(\w+)`", place)
        assert set(mapped) <= set(HOOKS), names
        assert mapped or place.startswith("not needed because "), names
