"""JobLedger: the states of all jobs of a server, in a file of the operator's."""

from pathlib import Path

from sundog import observe


class JobLedger:
    """Appends a line to a file for each new state of a job.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    @observe
    def job_state_changed(self, job_id, state):
        with self.path.open("a") as ledger:
            ledger.write(f"{job_id} {state}\n")
