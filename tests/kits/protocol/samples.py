"""One message and one record of every kind, with every field filled in; their golden frames lie in tests/data/golden."""

from __future__ import annotations

from typing import get_args

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message, Payload, ScatterEnd, StepMetrics
from sundog.kits.handover import messages as job
from sundog.kits.protocol import messages as peer
from sundog.kits.protocol import records as rec
from sundog.transports.link import messages as link

FAILURE = Failure("SD-4090", "ValueError: boom", "train.py:3", "look there", "site-1", "trainer", "Traceback")
PAYLOAD = Payload(12, "ab" * 32, 345, "name.blob", 5)
END = ScatterEnd(["t0", "t1"], ["t1"], [("site-2", "gone")], True, 3)
METRICS = StepMetrics({"loss": 0.5}, {"site-1": {"loss": 0.25}})

MESSAGES: list[Message] = [
    link.Ping(1), link.Pong(1), link.Bye("done"), link.Get(3, "ab" * 32, 7, 1024), link.Chunk(3, 7), link.Credit(3, 2048),
    link.Done(3, 4096), link.TransferFailed(3, FAILURE),
    peer.Sync([peer.RunSync("run", ["t1"], ["t2"])], {"gpu": 2}),
    peer.TaskFor("run", "t1", "train", "sag", 2, "site-1", 77, 60.0, PAYLOAD, PAYLOAD),
    peer.Offer("run", "t1", PAYLOAD, FAILURE), peer.Stored("run", "t1"), peer.Verdicts(4, "run", [("t1", "used", "")]),
    peer.Unknown("run", "t1"), peer.AbortRun("run", "why"), peer.AbortTask("run", "t1", "why"), peer.SiteFailed("run", FAILURE),
    peer.RunEnded("run", "FINISHED:COMPLETED"), peer.Check("run", {"gpu": 1}), peer.Checked("run", "token", "reason"),
    peer.Cancel("run", "token"), peer.Deploy("run", {"threads": 1}), peer.Deployed("run", FAILURE),
    peer.StartRun("run", "token", ["site-1"], 7), peer.Started("run", FAILURE), peer.Free({"gpu": 2}),
    peer.Grew("run", "site-1", "metrics.jsonl", 10),
    peer.Command("request", "list_jobs"), peer.Reply("request", FAILURE),
    peer.Ask("request", "cat", "admin"), peer.Answer("request", FAILURE), peer.Withdraw("request"),
    job.Start("run"), job.Ready(FAILURE), job.OpenStep("sag", 2, "train", [("t1", "site-1", 0, 1)], [PAYLOAD], 60.0, "all", [END]),
    job.StepOpened("sag", 2, END), job.ResultFor("t1", "site-1", PAYLOAD, FAILURE, PAYLOAD, 9), job.Kept("t1"), job.Reject("t1", "NaN"),
    job.EndWorkflow("sag", [PAYLOAD], ["t2"], {"t1": "sent"}, METRICS, ["a note"], [("models/best.npy", None)], ["t3"]),
    job.CommitStep("sag", 2, [PAYLOAD], True, ["t1"], {"t2": "sent"}, METRICS), job.StepClosed("sag", 2), job.SiteGone("site-1", FAILURE),
    job.SiteBack("site-1"), job.Abort("why", "t1"), job.Finish(FAILURE, [FAILURE], "why"), job.Finished(), job.Checkpoint("t1", PAYLOAD),
]  # fmt: skip
RECORDS: list[rec.AnyRecord] = [
    rec.RunStarted("0123456789abcdef", "run", 4, ["site-1"], 7, 1.5),
    rec.StepOpened(
        "0123456789abcdef", "sag", 2, "all", [rec.OpenTask("t1", "site-1", "train", 0, 77, 60.0)], [rec.Carried(PAYLOAD, b"meta")], 1.5
    ),
    rec.ScatterEnded("0123456789abcdef", "sag", 2, END),
    rec.StepReopened("0123456789abcdef", "sag", 2, 2),
    rec.ResultReceived("0123456789abcdef", "t1", "site-1", PAYLOAD, b"meta", FAILURE, 1.5),
    rec.ResultRejected("0123456789abcdef", "t1", "site-1", "NaN"),
    rec.StepClosed("0123456789abcdef", "sag", 2, [PAYLOAD], [b"meta"], True, [("t1", "used", "")], METRICS, 1.5),
    rec.WorkflowEnded(
        "0123456789abcdef", "sag", [PAYLOAD], [b"meta"], [("t1", "dropped", "why")], METRICS, 1.5, ["a note"], [("models/best.npy", None)]
    ),
    rec.RunFinished("0123456789abcdef", "FINISHED:COMPLETED", FAILURE, "why", 1.5),
    rec.JobChanged("0123456789abcdef", "job", "RUNNING", 1.5, {"name": "hello"}),
    rec.JobDeleted("0123456789abcdef", "job", 1.5, "admin"),
]
FAMILIES = {"link": link.LinkMessage, "peer": peer.PeerMessage, "job": job.JobMessage}


def kinds(family: object) -> set[type[Message]]:
    return set(get_args(family))
