"""What is written down is enough: the records of any story, read by a server that saw none of it, tell the same run."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sundog.kernel.errors import Failure
from sundog.kernel.messages import ScatterEnd, StepMetrics
from sundog.kits.handover.messages import Finish, ResultFor
from sundog.kits.protocol.records import RunFinished, StepClosed, StepOpened, WorkflowEnded, decode_record, encode_record
from sundog.kits.server import run_events as ev
from sundog.kits.server.run_state import Phase, RunState

from .story import BOOM, SITES, WORKFLOW, Story, open_task

Move = tuple[str, str]
MOVES = [
    "open",
    "offer",
    "arrive",
    "never",
    "reject",
    "commit",
    "commit without state",
    "commit open",
    "again",
    "drop",
    "die",
    "up",
    "down",
    "stall",
    "cannot",
    "deadline",
]
ENDS = ["abort", "finish", "fail", "broken"]
moves = st.lists(st.tuples(st.sampled_from(MOVES * 3 + ENDS), st.sampled_from(SITES)), max_size=60)


class Teller:
    """Plays moves as the program around the reducer would feed them: bytes arrive only after they were asked for."""

    def __init__(self) -> None:
        self.story = Story().begin()
        self.step = 0
        self.fetching: set[str] = set()
        self.is_dead = False

    def play(self, move: Move) -> None:
        act, site = move
        if not self.is_dead:
            self._play(act, site, open_task(site, self.step).task_id)
        self.is_dead = self.story.run.phase is Phase.ENDED

    def _play(self, act: str, site: str, task_id: str) -> None:
        story, at = self.story, 9.0
        match act:
            case "open":
                story.step(self.step)
            case "offer":
                story.offer(site, self.step)
                self.fetching |= {task_id} if "Receive" in story.asked else set()
            case "arrive" if task_id in self.fetching:
                self.fetching.discard(task_id)
                story.arrive(site, self.step)
            case "never" if task_id in self.fetching:
                self.fetching.discard(task_id)
                story.on(ev.ReceiveFailed(site, task_id, BOOM, at))
            case "commit" | "commit without state":
                state: dict[str, Any] = {"state": None} if act != "commit" else {}
                late = tuple(task_id for task_id, task in story.run.tasks.items() if task.left_open and task.received)
                self._close(used=tuple(one for one in SITES if self._has_result(one)), late=late, parts=1, **state)
            case "commit open":
                open_ids = [task.open.task_id for task in story.run.tasks.values() if task.received is None]
                used = tuple(one for one in SITES if self._has_result(one))
                self._close(used=used, still_open=dict.fromkeys(open_ids, "late" if site == "site-1" else "sent"))
            case "again":
                story.step(self.step, name=f"evaluate {len(story.records)}", ended=self._ended())
            case "drop":
                still_open = {task_id: "sent" for task_id, task in story.run.tasks.items() if task.left_open}
                story.on(ev.WorkflowOver(WORKFLOW, (), (), (), still_open, StepMetrics({}, {}), at))
            case "die":
                story.die()
            case _:
                self._happen(act, site, task_id)

    def _close(self, **what: Any) -> None:
        self.step += bool(self.story.commit(self.step, **what))

    def _ended(self) -> tuple[ScatterEnd, ...]:
        ids = [open_task(site, self.step).task_id for site in SITES]
        if not set(ids) <= self.story.run.tasks.keys():
            return ()
        return (ScatterEnd(ids, [task_id for task_id in ids if self.story.run.tasks[task_id].received], []),)

    def _happen(self, act: str, site: str, task_id: str) -> None:
        at = 9.0
        events: dict[str, ev.Event] = {
            "reject": ev.RejectAsked(task_id, "NaN"), "up": ev.SiteUp(site), "down": ev.SiteDown(site),
            "stall": ev.SiteStalled(site, Failure("SD-4105", "silent")), "cannot": ev.SiteCannot(site, BOOM, at),
            "deadline": ev.DeadlinePassed(task_id, BOOM, at), "abort": ev.AbortAsked("by alice", at), "finish": ev.FinishSaid(Finish(), at),
            "fail": ev.FinishSaid(Finish(BOOM), at), "broken": ev.Broken(BOOM, at),
        }  # fmt: skip
        if act in events:
            self.story.on(events[act])

    def _has_result(self, site: str) -> bool:
        task = self.story.run.tasks.get(open_task(site, self.step).task_id)
        return task is not None and task.received is not None and task.received.failure is None and not task.rejected


def durable(run: RunState) -> Any:
    tasks = {
        task_id: (task.open, task.workflow, task.step, task.received, task.number, task.rejected, task.left_open)
        for task_id, task in run.tasks.items()
    }
    return (
        tasks,
        run.ended_scatters,
        run.results,
        run.closed_tasks,
        run.committed,
        run.rounds,
        run.opened_at,
        run.ended,
        run.final_state,
        run.left_out,
    )


def told(moves: list[Move]) -> Teller:
    teller = Teller()
    for move in moves:
        teller.play(move)
    return teller


@given(moves)
def test_the_records_of_any_story_give_the_same_durable_state(moves: list[Move]) -> None:
    story = told(moves).story
    again = RunState("r", SITES, term=5)

    for record in story.records:
        again.apply(decode_record(encode_record(record)))

    assert durable(again) == durable(story.run)


@given(moves)
def test_every_run_can_be_brought_to_one_end_and_nothing_is_written_behind_it(moves: list[Move]) -> None:
    teller = told([*moves, ("abort", "site-1"), ("die", "site-1"), *moves, ("up", "site-1")])
    story = teller.story

    assert story.run.phase is Phase.ENDED
    assert [type(record) for record in story.records].count(RunFinished) == 1
    assert isinstance(story.records[-1], RunFinished)


@given(moves)
def test_a_job_process_that_dies_and_dies_ends_the_run(moves: list[Move]) -> None:
    assert told([*moves, *[("die", "site-1")] * 3]).story.run.phase is Phase.ENDED


@given(moves)
def test_every_task_has_one_last_verdict_at_most_and_none_is_forgotten(moves: list[Move]) -> None:
    story = told(moves).story
    opened = [task.task_id for record in story.records if isinstance(record, StepOpened) for task in record.tasks]
    closed = [verdict for record in story.records if isinstance(record, StepClosed) for verdict in record.verdicts]
    last = [task_id for task_id, verdict, _ in closed if verdict != "open"]
    last += [task_id for record in story.records if isinstance(record, WorkflowEnded) for task_id, _, _ in record.verdicts]

    assert {verdict for _, verdict, _ in closed} <= {"used", "late", "rejected", "missing", "open"}
    assert len(last) == len(set(last)) == len(story.run.closed_tasks)
    assert sorted(last) == sorted(set(opened) - story.run.tasks.keys())
    assert all(story.run.closed_tasks.find(task_id) for task_id in last)
    assert not any(story.run.closed_tasks.find(task_id) for task_id in story.run.tasks)


@given(moves)
def test_a_new_job_process_is_handed_what_came_for_open_tasks_in_the_order_of_the_journal(moves: list[Move]) -> None:
    story = told(moves).story
    wanted = [task.open.task_id for task in story.run.tasks.values() if task.left_open and task.received]
    story.die()

    handed = [message for message in story.told if isinstance(message, ResultFor)] if story.asked[:1] == ["Launch"] else []
    assert [message.number for message in handed] == sorted(message.number for message in handed)
    assert not handed or sorted(message.task_id for message in handed) == sorted(wanted)
