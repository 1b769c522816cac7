"""The load generator, in a process of its own: `Generator` starts it and hands it plans.

Arrivals are drawn before a run. Each answer's time counts from when its request was due, not from when it could be sent, so that
a server which falls behind is charged for everybody who waits in line (no coordinated omission). One thread, blocking
sockets, `select` with its microseconds; answers are read to their end and thrown away.
It does not know what is asked. Only the standard library is imported here: what it costs is in every contestant's time.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import subprocess
import sys
from collections import deque
from time import perf_counter
from typing import IO, Any, NamedTuple

LONGEST_S = 300  # without any answer
IDLE_S = 2.0  # servers close connections that were idle longer, uvicorn after 5 s, and one may just be about to
_READ = 1 << 20


class Plan(NamedTuple):
    """One run against one server on loopback. All JSON values."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]  # request n sends body n, from the front again where there are fewer bodies than requests
    arrivals: list[float]  # seconds after the start; empty: each connection asks again as soon as it is answered
    seconds: float = 0.0  # for how long, where there are no arrivals
    connections: int = 8
    once: bool = False  # without arrivals: end before any body comes again


class Heard(NamedTuple):
    """What came of it."""

    seconds: list[float]  # of each answer, from when its request was due
    late: list[float]  # the generator's own delay: sent so long after it was due and a connection was free
    took: float  # from the first request to the last answer
    statuses: dict[str, int]


class Connection:
    """One keep-alive connection; reads one answer at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket = self._connect()
        self._read = bytearray()
        self._missing = -1  # bytes of the body; -1: the head is not complete
        self.status, self.free_since = 0, 0.0  # seconds after the start

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def send(self, request: bytes, now: float) -> None:
        """Send a request; on a new connection where the server has closed the idle one or may be closing it."""
        if now - self.free_since > IDLE_S or select.select([self.socket], [], [], 0)[0]:
            self.socket.close()
            self.socket = self._connect()
        self._read.clear()
        self._missing = -1
        self.socket.sendall(request)

    def complete(self) -> bool:
        """Read what is there; whether the answer is whole."""
        chunk = self.socket.recv(_READ)
        if not chunk:
            raise ConnectionError("the server has closed a connection in the middle of an answer")
        if self._missing < 0:
            self._read += chunk
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self._read[:end]).lower()
            self.status = int(head.split(b" ", 2)[1])
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])  # chunked answers have none
            self._missing = length - (len(self._read) - end - 4)
        else:
            self._missing -= len(chunk)
        return self._missing == 0


def run(plan: Plan) -> Heard:
    """Send everything, hear everything.

    Raises:
        ConnectionError: where the server breaks off.
        TimeoutError: where it says nothing for `LONGEST_S`.
    """
    head = "".join(f"{name}: {value}\r\n" for name, value in plan.headers.items())
    requests = [
        f"POST {plan.path} HTTP/1.1\r\nhost: 127.0.0.1:{plan.port}\r\ncontent-type: application/json\r\n{head}"
        f"content-length: {len(body.encode())}\r\n\r\n{body}".encode()
        for body in plan.bodies
    ]
    made = [Connection(plan.port) for _ in range(plan.connections)]
    gc.collect()
    gc.disable()
    try:
        return (_open if plan.arrivals else _closed)(plan, requests, deque(made))
    finally:
        gc.enable()
        for connection in made:
            connection.socket.close()


def _open(plan: Plan, requests: list[bytes], free: deque[Connection]) -> Heard:
    busy: dict[socket.socket, tuple[Connection, float]] = {}
    waiting: deque[int] = deque()
    heard = Heard([], [], 0.0, {})
    arrivals, n = plan.arrivals, 0
    began = perf_counter() + 0.01
    while len(heard.seconds) < len(arrivals):
        now = perf_counter() - began
        while n < len(arrivals) and arrivals[n] <= now:
            waiting.append(n)
            n += 1
        while waiting and free:
            number, connection = waiting.popleft(), free.popleft()
            heard.late.append(perf_counter() - began - max(arrivals[number], connection.free_since))
            connection.send(requests[number % len(requests)], perf_counter() - began)
            busy[connection.socket] = connection, arrivals[number]
        until = max(0.0, arrivals[n] - (perf_counter() - began)) if n < len(arrivals) else LONGEST_S
        _hear(busy, free, heard, began, until)
    return heard._replace(took=perf_counter() - began)


def _closed(plan: Plan, requests: list[bytes], free: deque[Connection]) -> Heard:
    busy: dict[socket.socket, tuple[Connection, float]] = {}
    heard = Heard([], [], 0.0, {})
    n, began = 0, perf_counter()
    most = len(requests) if plan.once else sys.maxsize
    while (asking := perf_counter() - began < plan.seconds and n < most) or busy:
        while free and asking and n < most:
            connection = free.popleft()
            now = perf_counter() - began
            connection.send(requests[n % len(requests)], now)
            busy[connection.socket] = connection, now
            n += 1
        _hear(busy, free, heard, began, LONGEST_S)
    return heard._replace(took=perf_counter() - began)


def _hear(
    busy: dict[socket.socket, tuple[Connection, float]], free: deque[Connection], heard: Heard, began: float,
    until: float,
) -> None:  # fmt: skip
    """Wait at most `until` seconds for something to arrive, and read it."""
    ready = select.select(list(busy), [], [], until)[0]
    if not ready and until >= LONGEST_S:
        raise TimeoutError(f"no answer for {LONGEST_S} s")
    for key in ready:
        connection, due = busy[key]
        if connection.complete():
            connection.free_since = perf_counter() - began
            heard.seconds.append(connection.free_since - due)
            status = str(connection.status)
            heard.statuses[status] = heard.statuses.get(status, 0) + 1
            del busy[key]
            free.append(connection)


class Generator:
    """The process; a context manager."""

    def __enter__(self) -> Generator:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self._process.stdin).close()
        self._process.wait(10)
        self._pipe(self._process.stdout).close()

    def run(self, plan: Plan) -> Heard:
        """See `run`; here in the other process.

        Raises:
            RuntimeError: where it has ended, its reason is on stderr; or where an answer was not a 200.
        """
        requests = self._pipe(self._process.stdin)
        requests.write(json.dumps(plan) + "\n")
        requests.flush()
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"the load generator has ended on {plan.path}")
        heard = Heard(*json.loads(line))
        if set(heard.statuses) != {"200"}:
            raise RuntimeError(f"{plan.path}: not every answer was a 200: {heard.statuses}")
        return heard

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def main() -> None:
    """Plans in on stdin, a line each; what came of them out on stdout."""
    for line in sys.stdin:
        given: list[Any] = json.loads(line)
        sys.stdout.write(json.dumps(run(Plan(*given))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
