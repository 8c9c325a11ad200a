"""Write docs/console.md: prose, and every command from its declaration.

A test compares the page with what this file would write, so run it after adding or changing a command.
"""

from __future__ import annotations

import io
from pathlib import Path

from sundog.kits.console.help import usage
from sundog.kits.console.local import all_commands

PAGE = Path(__file__).resolve().parent / "console.md"
PROSE = """# The console

An admin gives commands to the server: interactively, one at a time, or from a file. All three know the same commands.

```console
$ sundog admin poc/admin
Waiting for token: dialling zmq://localhost:8003 …
primary SP localhost:8002:8003 SSID: ebc6125d-0a56-4688-9b08-355fe9e4d61a
  Host: localhost Admin_port: 8003
login_result: OK token: 653e51bde49abf70
Type ? for the commands, ? cmdName for the usage of one; bye leaves.
>
```

`startup/fl_admin.sh` in the kit does the same. The SP is the server that serves, as `host:fl_port:admin_port`; the SSID
says which server's reign it is, and is always this one where there is only one server. The token is the id of this
session. A server that is not there is dialled until it is; one that is lost is dialled again, and the console says when
it is back.

## At the prompt

| | |
|---|---|
| `?`, `help` | every command, in groups |
| `? list_jobs` | how one is used |
| TAB | completes commands, options, ids of jobs, sites, folders to submit |
| up, Ctrl-R | lines from before, also of earlier sessions: they are kept in `state/console_history` of the kit |
| `list_jobs > jobs.txt` | the output goes to a file, byte for byte as it would be shown, without colours; `>>` to its end |
| Ctrl-C | throws the line away; while a command runs, ends the wait for it |
| `bye`, Ctrl-D | leave; jobs go on |

Words are quoted as in a shell: `submit_job 'my job'`. Colours are left out when `NO_COLOR` is set.

The words of the group [Console](#console) (`help`, `?`, `info`, `lpwd`, `source`, `bye`) and `>` are the console's own: they
work at the prompt and in scripts, not behind `-c`.

## One command, and scripts

| | |
|---|---|
| `sundog admin poc/admin -c "list_jobs"` | one command; exit status 0, 1 if it failed, 2 if it was misspelt, 130 if Ctrl-C ended it |
| `sundog admin poc/admin -c "list_jobs" --json` | the same, answered with one JSON document |
| `sundog admin poc/admin -f nightly.txt` | the lines of a file, up to the first that fails, which is named; `-` is standard input |
| `sundog admin poc/admin -f nightly.txt --json` | one array: for each line `line`, `command`, and `answer` or `error` |
| `echo list_jobs \\| sundog admin poc/admin` | where standard input is no terminal, each of its lines is a command |

`monitor_job` exits as the job ended: 0 completed, 3 degraded, 4 aborted, 5 with an exception, 6 could not be scheduled.

A script has one command a line; lines that are empty or begin with `#` are skipped:

```script
# nightly.txt
submit_job hello-numpy
list_jobs -n hello >> jobs.txt
```

## Commands
"""


def page() -> str:
    """The page, in Markdown."""
    commands = all_commands().values()
    parts = [PROSE]
    for group in dict.fromkeys(command.group for command in commands):
        parts.append(f"### {group.capitalize()}\n")
        parts.extend(
            f"#### {command.name}\n\n```text\n{usage(command, io.StringIO()).rstrip()}\n```\n"
            for command in commands
            if command.group == group
        )
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{len(all_commands())} commands in docs/console.md")


if __name__ == "__main__":
    main()
