"""Run a job process as a child and end as it ends: `python -m sundog_clinic.relay COMMAND…`."""

import os
import signal
import subprocess
import sys


def main(command):
    signal.signal(signal.SIGTERM, lambda *_: None)  # the job process gets it, too, and decides; SIG_IGN would be inherited
    print("started by the relay of the clinic:", command[-1], flush=True)
    status = subprocess.Popen(command, close_fds=False).wait()
    if status >= 0:
        return status
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
