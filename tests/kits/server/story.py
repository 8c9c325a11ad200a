"""A run at the server without a server: what happens is said in one word each, and what came of it is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message, Payload, ScatterEnd, StepMetrics
from sundog.kits.handover.messages import Finish
from sundog.kits.protocol.messages import Offer
from sundog.kits.protocol.records import AnyRecord, Carried, OpenTask
from sundog.kits.server import run_events as ev
from sundog.kits.server.server_run import ServerRun

SITES = ("site-1", "site-2")
MODEL, RESULT, STATE = (Payload(3, sha256=letter * 64, size_bytes=10) for letter in "abc")
BOOM = Failure("SD-4090", "ValueError: boom", "train.py:3")
WORKFLOW = "train"


CARRIED = Carried(MODEL, b"meta")


def open_task(site: str, step: int = 0, name: str = "train") -> OpenTask:
    return OpenTask(f"{name} {step} {site}", site, name, 0, 7, None)


@dataclass
class Story:
    """`records` is everything that was written down; `actions` what the last event asked for."""

    run: ServerRun = field(default_factory=lambda: ServerRun("r", SITES, term=4, connected=set(SITES)))
    records: list[AnyRecord] = field(default_factory=list)
    actions: list[ev.Action] = field(default_factory=list)
    at: float = 0.0

    def on(self, event: ev.Event) -> list[AnyRecord]:
        """The records of this event alone."""
        self.at += 1
        written, self.actions = self.run.on(event)
        self.records += written
        return written

    @property
    def sent(self) -> list[tuple[str, Message]]:
        return [(action.site, action.message) for action in self.actions if isinstance(action, ev.Send)]

    @property
    def told(self) -> list[Message]:
        return [action.message for action in self.actions if isinstance(action, ev.Tell)]

    @property
    def asked(self) -> list[str]:
        return [type(action).__name__ for action in self.actions]

    # --- what happens ---

    def begin(self) -> Story:
        self.on(ev.Begun(7, self.at))
        return self

    def step(
        self, step: int = 0, *, sites: tuple[str, ...] = SITES, name: str = "train", ended: tuple[ScatterEnd, ...] = ()
    ) -> list[AnyRecord]:
        return self.on(
            ev.StepAsked(WORKFLOW, step, "all", tuple(open_task(site, step, name) for site in sites), (CARRIED,), self.at, ended)
        )

    def offer(self, site: str, step: int = 0, failure: Failure | None = None, *, task_id: str = "") -> list[AnyRecord]:
        return self.on(ev.Offered(site, self._offer(site, step, failure, task_id), b"m", None))

    def arrive(self, site: str, step: int = 0, failure: Failure | None = None) -> list[AnyRecord]:
        return self.on(ev.ResultHere(site, self._offer(site, step, failure), b"m", None, self.at))

    def result(self, site: str, step: int = 0, failure: Failure | None = None) -> list[AnyRecord]:
        """An offer, and its bytes."""
        self.offer(site, step, failure)
        return self.arrive(site, step, failure)

    def commit(  # what a story may say of it
        self,
        step: int = 0,
        *,
        used: tuple[str, ...] = SITES,
        state: Payload | None = STATE,
        parts: int = 0,
        still_open: dict[str, str] | None = None,
        late: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        files: tuple[tuple[str, Payload | None], ...] = (),
    ) -> list[AnyRecord]:
        """`late`: ids of earlier tasks whose results it used."""
        payloads = [*([state] if state else []), *(Payload(1, f"{step}{number}".rjust(64, "0"), 5) for number in range(parts))]
        ids = (*(open_task(site, step).task_id for site in used), *late)
        metas = tuple(b"x" for _ in payloads)
        metrics = StepMetrics({"loss": 0.5}, {})
        asked = (WORKFLOW, step, tuple(payloads), metas, state is not None, ids, still_open or {}, metrics, self.at, notes, files)
        return self.on(ev.CommitAsked(*asked))

    def finish(self, finish: Finish | None = None) -> list[AnyRecord]:
        return self.on(ev.FinishSaid(finish or Finish(), self.at))

    def die(self, how: str = "killed by signal 9 (SIGKILL)") -> list[AnyRecord]:
        return self.on(ev.JobDied(how, "last words", self.at))

    def _offer(self, site: str, step: int, failure: Failure | None, task_id: str = "") -> Offer:
        return Offer("r", task_id or open_task(site, step).task_id, None if failure else RESULT, failure)
