"""A TCP proxy that can be told to fail: in front of a real server, so that the client's own sockets see the fault."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

Address = tuple[str, int] | str  # host and port, or the path of a Unix socket


class Mode(Enum):
    """What happens to connections."""

    OPEN = "bytes go through"
    CLOSED = "connections are refused, and those that exist are cut"
    FROZEN = "connections are taken, and nothing ever comes back"
    TORN = "of the next reply a half comes back, then the connection is cut"


class Proxy:
    """Listens on a port of its own and passes bytes on to one server."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._mode, self._open = Mode.OPEN, threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode) -> None:
        """From now on; connections that were frozen go on where they were once it is open again."""
        self._mode = mode
        if mode in (Mode.OPEN, Mode.TORN):
            self._open.set()
        else:
            self._open.clear()
        if mode is Mode.CLOSED:
            self._cut()

    def close(self) -> None:
        """End it."""
        self._ended = True
        self._mode = Mode.CLOSED
        self._open.set()
        self._cut()
        self._listener.close()

    def _cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._mode is Mode.CLOSED:
                near.close()
                continue
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._open.wait()
        far = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
        try:
            far.connect(self._target)
        except OSError:
            near.close()
            far.close()
            return
        self._pairs.append((near, far))
        for source, sink in ((near, far), (far, near)):
            told = {"reply": source is far}
            threading.Thread(target=self._pass, args=(source, sink), kwargs=told, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, *, reply: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                self._open.wait()
                if self._mode is Mode.TORN and reply:
                    sink.sendall(chunk[: len(chunk) // 2])
                    break
                sink.sendall(chunk)
        for end in (sink, source):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_proxy(target: Address) -> Iterator[Proxy]:
    """A proxy, ended at the end."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
