"""commands: `estafeta …` in a process of its own that does not import the program anew.

A process that has imported the command line, started once by each of pytest's, makes a copy of
itself for each command: the same as `python -m estafeta …`, with its own arguments, environment and
standard streams, for 0.25 s of CPU instead of 1.3. It has no threads and no store, so that what it
copies is clean; it ends with who started it.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence

REQUEST_OCTETS_MAX = 65536
_TOLD = struct.Struct("!i")


def run_command(
    words: Sequence[str], *, given: str, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run of `python -m estafeta WORDS`, its output captured, as text.

    given: standard input. Raises subprocess.TimeoutExpired.
    """
    asked = json.dumps({"words": words, "environment": dict(environment), "folder": os.getcwd()})
    ours, its = socket.socketpair()
    file = tempfile.TemporaryFile
    with ours, file() as stdin, file() as out, file() as err:
        stdin.write(given.encode())
        stdin.seek(0)
        with its:
            streams = [stdin.fileno(), out.fileno(), err.fileno(), its.fileno()]
            socket.send_fds(_copier()[0], [asked.encode()], streams)
        (pid,) = _TOLD.unpack(ours.recv(_TOLD.size))
        ours.settimeout(timeout)
        try:
            (code,) = _TOLD.unpack(ours.recv(_TOLD.size))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["estafeta", *words], timeout) from None
        for stream in (out, err):
            stream.seek(0)
        said, wrong = out.read().decode(), err.read().decode()
    return subprocess.CompletedProcess(["estafeta", *words], code, said, wrong)


@functools.cache
def _copier() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that makes the copies, and the way to it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(its.fileno())],
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for pytest
        )
    return ours, process


def _serve(asking: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, streams, _, _ = socket.recv_fds(asking, REQUEST_OCTETS_MAX, 4)
        if not request:
            return
        if os.fork() == 0:
            asking.close()
            _mind(json.loads(request), streams)
        for stream in streams:
            os.close(stream)


def _mind(request: dict[str, object], streams: Sequence[int]) -> None:
    """Tells the command's process id, and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told = streams[3]
    pid = os.fork()
    if pid == 0:
        _become(request, streams)
    os.write(told, _TOLD.pack(pid))
    _, status = os.waitpid(pid, 0)
    os.write(told, _TOLD.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _become(request: dict[str, object], streams: Sequence[int]) -> None:
    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    sys.modules["__main__"] = estafeta.__main__  # by which click names the program
    sys.argv = [estafeta.__main__.__file__, *request["words"]]  # type: ignore[misc]
    code = 1
    try:
        estafeta.__main__.main()
        code = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import typer

    import estafeta.__main__

    # What every copy has from the beginning: every command, and what it needs.
    dict(typer.main.get_command(estafeta.__main__.app).commands)  # type: ignore[attr-defined]
    _serve(socket.socket(fileno=int(sys.argv[1])))
