"""The main thread's work, one piece at a time."""

from __future__ import annotations

import subprocess
import sys

FORK = """
import os
from sundog.kits.job.mailbox import Mailbox

mailbox, children = Mailbox(), []
mailbox.post(lambda: children.append(os.fork()))
mailbox.pump()
print("parent" if children[0] else "child", os.waitpid(children[0], 0)[1] if children[0] else "")
"""


def test_a_child_that_job_code_forked_ends_where_the_job_code_does() -> None:
    """It has none of the other threads, and would wait for their work for ever."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)

    assert done.stdout == "parent 0\n"
