"""Serving the application: a socket bound before anything is promised, and an end that waits for nobody for ever."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from escrow_monitor.errors import OutsideError

STOP_SECONDS = 5
START_SECONDS = 20
HEADER_BYTES_MAX = 32 * 1024
CONNECTIONS_MAX = 1_000


class Listener:
    """A bound socket. The port is taken when this is made, so `url` can go into what the application is built from.

    Raises OutsideError if the address cannot be bound. `port` 0 takes any free one.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = _bind(host, port)
        self.host = host
        self.port: int = self.socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where this machine reaches it, without a final slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)  # noqa: S104 - read, not bound
        return f"http://{host or (f'[{self.host}]' if ':' in self.host else self.host)}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()


class WebServer:
    """One uvicorn on one listener."""

    def __init__(self, app: FastAPI, listener: Listener) -> None:
        self._listener = listener
        self._server = _Server(app)
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve in this thread until `stop` or, in the main thread, SIGTERM or SIGINT (raised again at the end)."""
        self._server.run(sockets=[self._listener.socket])

    def start(self) -> None:
        """Serve in a thread of its own; return once it answers. Raises OutsideError if it does not."""
        self._thread = threading.Thread(target=self.run, name="web", daemon=True)
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.answering.wait(0.05):
            if not self._thread.is_alive() or time.monotonic() > until:
                raise OutsideError(f"the web server at {self._listener.url} did not start: its log says why")

    def stop(self) -> None:
        """Stop taking requests, end the event streams, finish what is being answered, within STOP_SECONDS."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECONDS + 5)
        self._listener.close()


class _Server(uvicorn.Server):
    """Ends the event streams first: a browser's open stream would otherwise hold up the stop."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="on", timeout_keep_alive=30,
            timeout_graceful_shutdown=STOP_SECONDS, h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            limit_concurrency=CONNECTIONS_MAX, proxy_headers=True, ws="none",
        ))
        self._app = app
        self.answering = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.answering.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.events.stop()
        await super().shutdown(sockets)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OutsideError(
            f"the web cannot listen on {host} port {port}: {error.strerror}; choose another port or stop what uses it"
        ) from error
    sock.set_inheritable(True)
    return sock
