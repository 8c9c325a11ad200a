"""A program that runs processes for others: `python remote_host.py SOCKET`. It stands for another machine, and knows nothing of Sundog.

The first line of a connection says what is wanted. `{"start": {...}}` starts a process; the answers are its number and, at
last, its exit status; each further line is a signal for its group. `{"output": NUMBER}` gets what it prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading

RUNNING: dict[int, subprocess.Popen[bytes]] = {}


class Host(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        wanted = json.loads(self.rfile.readline())
        if "output" in wanted:
            self.forward(RUNNING.pop(wanted["output"]))
        else:
            self.start(**wanted["start"])

    def start(self, command: list[str], environment: dict[str, str], folder: str) -> None:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        RUNNING[process.pid] = process
        self.say(process.pid)
        threading.Thread(target=self.pass_signals, args=[process.pid], daemon=True).start()
        self.say(process.wait())

    def pass_signals(self, group: int) -> None:
        """Until the one who asked for the process is gone: then it ends, too."""
        with contextlib.suppress(ProcessLookupError):
            for line in self.rfile:
                os.killpg(group, int(line))
            os.killpg(group, signal.SIGKILL)

    def forward(self, process: subprocess.Popen[bytes]) -> None:
        """To the end, also when nobody listens any more."""
        assert process.stdout is not None
        with process.stdout as output:
            while data := os.read(output.fileno(), 65536):
                with contextlib.suppress(OSError):
                    self.request.sendall(data)

    def say(self, number: int) -> None:
        self.wfile.write(b"%d\n" % number)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    with Server(sys.argv[1], Host) as server:
        print("ready", flush=True)
        server.serve_forever()
