"""What does a supervisor say when its own disk fails, and not the job?"""

from __future__ import annotations

from ...kernel.errors import DaemonError, Failure
from ...kernel.wording import reason_of


class StorageFailed(DaemonError):
    """A server or a site cannot read or write its workspace.

    Cause: its disk is full or broken, or somebody removed or protected a folder of it.

    Cure: mend what the message names at that participant. It goes on living; a job that ended for this is to be submitted again.
    """

    code = "SD-5051"

    @classmethod
    def of(cls, error: OSError) -> StorageFailed:
        """What the system says."""
        return cls(reason_of(error), where=str(error.filename or ""))


def own_failure(error: BaseException, site: str) -> Failure:
    """The failure of something that a supervisor did itself: an OSError there is its disk's, and no fault of the job's code."""
    return Failure.of(StorageFailed.of(error) if isinstance(error, OSError) else error, site=site)
