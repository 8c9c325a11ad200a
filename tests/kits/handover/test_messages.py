"""What a job process may say: nothing that its supervisor could not say on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sundog.kernel.messages import Message, MessageError, Payload, ScatterEnd, StepMetrics, encode
from sundog.kits.handover import messages as job
from sundog.kits.protocol.messages import Offer

SHA = "ab" * 32
PAYLOAD = Payload(400, SHA, 10**8, SHA)
NO_METRICS = StepMetrics({}, {})


def open_step(task_id: str = "t", *, workflow: str = "sag", name: str = "train", site: str = "site-1") -> job.OpenStep:
    return job.OpenStep(workflow, 0, name, [(task_id, site, 0, 0)], [PAYLOAD], None, "all")


def commit(workflow: str = "sag", **more: Any) -> job.CommitStep:
    return job.CommitStep(workflow, 0, [], False, **{"used": [], "still_open": {}, "metrics": NO_METRICS, **more})


@pytest.mark.parametrize("task_id", ["../x", "", ".", "a b", "x" * 64, "t\n"])
def test_a_task_id_that_a_site_would_refuse_is_refused_by_the_server(task_id: str) -> None:
    """What the server took, it would send again at each reconnection."""
    wrong: list[Message] = [
        open_step(task_id),
        job.ResultFor(task_id, "site-1", None),
        job.Reject(task_id, "NaN"),
        job.Checkpoint(task_id, PAYLOAD),
        job.EndWorkflow("sag", [], [task_id], {}, NO_METRICS),
        job.EndWorkflow("sag", [], [], {task_id: "sent"}, NO_METRICS),
        job.EndWorkflow("sag", [], [], {}, NO_METRICS, unused=[task_id]),
        commit(used=[task_id]),
        commit(unused=[task_id]),
        commit(still_open={task_id: "sent"}),
    ]
    for message in wrong:
        with pytest.raises(MessageError, match="matching regex"):
            job.said_codec.decode(encode(message))


@pytest.mark.parametrize("field", ["workflow", "name", "site"])
def test_a_name_is_short(field: str) -> None:
    assert job.said_codec.decode(encode(open_step(**{field: "x" * 256})))
    with pytest.raises(MessageError, match="<= 256"):
        job.said_codec.decode(encode(open_step(**{field: "x" * 257})))


def test_a_commits_workflow_is_short() -> None:
    with pytest.raises(MessageError, match="<= 256"):
        job.said_codec.decode(encode(commit("x" * 257)))


def test_whatever_a_sites_job_says_of_a_result_fits_into_the_offer() -> None:
    failure = ["SD-4090", *("x" * (job.MAX_SAID_BYTES // 6 - 100) for _ in range(6))]
    header = msgspec.msgpack.encode([74, "t", "site-1", None, failure])

    said, _ = job.said_codec.decode(len(header).to_bytes(4, "big") + header)

    assert len(encode(Offer("run", said.task_id, said.payload, said.failure))) < 100_000


def test_steps_of_ten_thousand_sites_fit() -> None:
    """Each with a model of its own, and with five numbers of each site's."""
    sites, ids = [f"hospital-{n:05d}" for n in range(10_000)], [f"{n:016x}" for n in range(10_000)]
    numbers = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "seconds"), 0.5)
    tasks = [(task_id, site, n, 0) for n, (task_id, site) in enumerate(zip(ids, sites, strict=True))]
    end = ScatterEnd(ids, ids, [(site, "no result in time") for site in sites[:1000]])

    for said in (
        job.OpenStep("sag", 1, "train", tasks, [PAYLOAD] * len(sites), 600.0, "all", [end]),
        commit(used=ids, still_open=dict.fromkeys(ids, "sent"), metrics=StepMetrics(numbers, dict.fromkeys(sites, numbers))),
    ):
        assert job.said_codec.decode(encode(said, job.MAX_SAID_BYTES))[0] == said
