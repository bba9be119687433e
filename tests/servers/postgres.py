"""A private PostgreSQL cluster: never as root, on a unix socket that only we may enter and on loopback, with fsync on as in production.
Its files lie in memory where there is room: fsync is asked for all the same, and no test cuts the power.

    with running() as cluster:                 # one for each pytest process: the fixtures of tests/conftest.py do this
        database = cluster.new_database()      # empty, or new_database(migrated=True)

The socket trusts whoever may enter its folder; over TCP a password would be asked for, and no role has one.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from relay.settings.models import Store
from relay.store import schema
from relay.store.engine import open_engine
from tests.servers.daemon import POLL_SECONDS, START_SECONDS, STOP_SECONDS, ServerFailed, new_home_in_memory, remove_home
from tests.servers.database import Database
from tests.servers.ports import free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
SERVER_USER = "postgres"
OWNER = "sluis_owner"
RELAY = "sluis_relay"
LISTEN = "sluis_listen"
_TEMPLATE = "sluis_template"
_START_TRIES = 3  # somebody else may take the free port between its choice and its use


class Cluster:
    """A running server. `superuser` is the name of its first role."""

    def __init__(self, sockets: Path, port: int) -> None:
        self.sockets = sockets
        self.port = port
        self.superuser = SERVER_USER
        self._numbers = itertools.count(1)
        self._template_made = False

    def store(self, database: str, role: str) -> Store:
        """Settings to reach `database` as `role`."""
        return Store(url=f"postgresql+psycopg://{role}@/{database}?host={self.sockets}&port={self.port}")

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements as superuser, each in a transaction of its own."""
        with psycopg.connect(host=str(self.sockets), port=self.port, user=self.superuser, dbname=database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def new_database(self, *, migrated: bool = False) -> Database:
        """A database that nobody else uses. Migrated ones are copied from one that was migrated before, which takes a tenth of the time."""
        name = f"sluis_{next(self._numbers)}"
        if migrated:
            self._make_template()
        template = _TEMPLATE if migrated else "template0"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} STRATEGY file_copy")
        owner, relay, listen = (self.store(name, role) for role in (OWNER, RELAY, LISTEN))
        return Database("postgresql", owner, relay, listen, relay_role=RELAY, listen_role=LISTEN)

    def drop(self, database: Database) -> None:
        """Ends what is still connected, and removes the database."""
        name = database.relay.url.partition("?")[0].rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _make_template(self) -> None:
        if self._template_made:
            return
        self.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER} TEMPLATE template0")
        engine = open_engine(self.store(_TEMPLATE, OWNER))
        try:
            schema.upgrade(engine, RELAY, LISTEN)
        finally:
            engine.dispose()
        self._template_made = True


@contextmanager
def running() -> Iterator[Cluster]:
    """Makes a cluster, starts it, and takes all of it away afterwards. Raises ServerFailed with what the server wrote."""
    home = new_postgres_home()
    try:
        initialise(home)
        process, cluster = _start(home)
        try:
            cluster.execute(*(f"CREATE ROLE {role} LOGIN" for role in (OWNER, RELAY, LISTEN)))
            yield cluster
        finally:
            stop(process)
    finally:
        remove_home(home)


def new_postgres_home() -> Path:
    """In memory where there is room; `remove_home` takes it away."""
    return new_home_in_memory("postgres")


def make_sockets(home: Path) -> None:
    """The folder of the socket; it and `home` are the server's."""
    sockets = home / "sockets"
    sockets.mkdir(mode=0o700)
    if os.geteuid() == 0:
        for path in (home, sockets):
            shutil.chown(path, SERVER_USER)


def initialise(home: Path) -> None:
    """Makes `home/data` and `home/sockets`. Raises ServerFailed."""
    make_sockets(home)
    # --no-sync is about these first files only: a cluster that is lost before it has started is made again.
    command: list[str | Path] = [BINARIES / "initdb", "--no-sync", "--username", SERVER_USER, "--encoding", "UTF8", "--locale", "C.UTF-8"]
    command += ["--auth-local", "trust", "--auth-host", "scram-sha-256", "--pgdata", home / "data"]
    done = subprocess.run(as_server_user(command), cwd=home, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerFailed(done.stdout + done.stderr)


def _start(home: Path) -> tuple[subprocess.Popen[bytes], Cluster]:
    for _ in range(_START_TRIES):
        cluster = Cluster(home / "sockets", free_port())
        process = launch(home, cluster)
        if answers(process, cluster):
            return process, cluster
        stop(process)
    raise ServerFailed((home / "log").read_text(errors="replace")[-2000:])


def launch(home: Path, cluster: Cluster, **settings: str) -> "subprocess.Popen[bytes]":
    """A server over `home/data` at the address of `cluster`, which need not answer yet; `settings` come over those that all have."""
    everything = {
        "listen_addresses": "127.0.0.1",
        "port": str(cluster.port),
        "unix_socket_directories": str(cluster.sockets),
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "shared_buffers": "32MB",
        "max_connections": "100",
        "timezone": "UTC",
        **settings,
    }
    command: list[str | Path] = [BINARIES / "postgres", "-D", home / "data"]
    command += [word for name, value in everything.items() for word in ("-c", f"{name}={value}")]
    with (home / "log").open("ab") as output:
        return subprocess.Popen(as_server_user(command), cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def answers(process: "subprocess.Popen[bytes]", cluster: Cluster) -> bool:
    """Waits until it takes a statement; False where it ended, or did not in time."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            cluster.execute("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(POLL_SECONDS)
        else:
            return True
    return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGINT is the fast shutdown: whoever is connected is cut off."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(STOP_SECONDS)


def as_server_user(command: list[str | Path]) -> list[str | Path]:
    """PostgreSQL refuses to run as root. If the tests are killed, the server gets the signal for a fast shutdown."""
    prefix: list[str | Path] = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        entry = pwd.getpwnam(SERVER_USER)
        prefix += [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    return [*prefix, *command]
