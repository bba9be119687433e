"""A PostgreSQL server that can be stopped, and a real standby of it that can take its place.

    with server() as primary:
        database = primary.new_database(migrated=True)
        with primary.standby() as standby:
            primary.follow_synchronously()      # each commit waits for the standby
            standby.take_over(primary)          # the primary is killed; the standby is promoted, at the primary's address

That it stands at the primary's address afterwards is what a virtual address or a change in DNS does.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers.daemon import POLL_SECONDS, START_SECONDS, STOP_SECONDS, ServerFailed, as_root, remove_home
from tests.servers.ports import free_port
from tests.servers.postgres import (
    BINARIES,
    LISTEN,
    OWNER,
    RELAY,
    SERVER_USER,
    Cluster,
    answers,
    as_server_user,
    initialise,
    launch,
    make_sockets,
    new_postgres_home,
    stop,
)

_NAME = "sluis_standby"


class Server(Cluster):
    """A cluster whose process is at hand; `home` holds its files."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "sockets", free_port())
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        """Starts it, and waits until it takes statements. `settings` are PostgreSQL's own."""
        assert self._process is None, "it is running"
        self._process = launch(self.home, self, **settings)
        if not answers(self._process, self):
            self.stop()
            raise ServerFailed((self.home / "log").read_text(errors="replace")[-2000:])

    def stop(self) -> None:
        """A fast shutdown: who is connected is cut off; what was committed goes to a standby that is connected."""
        process, self._process = self._process, None
        if process is not None:
            stop(process)

    def crash(self) -> None:
        """An immediate shutdown, as after a loss of power: without a last word to anybody."""
        process, self._process = self._process, None
        assert process is not None, "it is down"
        process.send_signal(signal.SIGQUIT)
        process.wait(STOP_SECONDS)

    def follow_synchronously(self) -> None:
        """From now on commits wait until the standby has them."""
        self.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'", "SELECT pg_reload_conf()")
        self.until("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", 1)

    def until(self, query: str, expected: object) -> None:
        """Waits until a query gives a value. Raises ServerFailed."""
        deadline = time.monotonic() + START_SECONDS
        while (found := self.ask(query)) != expected:
            if time.monotonic() > deadline:
                raise ServerFailed(f"{query}: {found}, not {expected}")
            time.sleep(POLL_SECONDS)

    def ask(self, query: str) -> object:
        """The one value of a query, asked by the superuser."""
        with psycopg.connect(host=str(self.sockets), port=self.port, user=self.superuser, dbname="postgres", autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    @contextmanager
    def standby(self) -> Iterator["Server"]:
        """A standby of this server, as pg_basebackup makes it, that has caught up."""
        with _home() as home:
            make_sockets(home)
            command: list[str | Path] = [BINARIES / "pg_basebackup", "-h", self.sockets, "-p", str(self.port), "-U", SERVER_USER]
            command += ["-D", home / "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"]
            done = subprocess.run(as_server_user(command), cwd=home, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ServerFailed(done.stdout + done.stderr)
            standby = Server(home)
            standby.start_as_standby()
            try:
                self.until(f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{_NAME}'", 1)
                yield standby
            finally:
                standby.stop()

    def start_as_standby(self) -> None:
        """Follows its primary, as soon as that one answers."""
        self.start(cluster_name=_NAME)

    def take_over(self, primary: "Server") -> None:
        """A failover: the primary is killed if it still runs, this one is promoted at its address. What it had not received is lost."""
        if primary._process is not None:
            primary.crash()
        self.stop()
        self.sockets, self.port = primary.sockets, primary.port
        self.start()
        self.execute("SELECT pg_promote()")
        self.until("SELECT pg_is_in_recovery()", expected=False)


@contextmanager
def server() -> Iterator[Server]:
    """A server of one's own, with the roles of a deployment."""
    with _home() as home:
        initialise(home)
        primary = Server(home)
        primary.start()
        try:
            primary.execute(*(f"CREATE ROLE {role} LOGIN" for role in (OWNER, RELAY, LISTEN)))
            yield primary
        finally:
            primary.stop()


@contextmanager
def server_on_small_disk(megabytes: int) -> Iterator[tuple[Server, Path]]:
    """A server whose tables lie on a disk of their own (in memory), and its log on another: that one never fills up. Gives the server and
    the folder that is the disk. Needs root, or sudo without a password."""
    with _home() as home, _home() as log:
        subprocess.run(as_root(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", home]), check=True)
        try:
            initialise(home)
            commands: list[list[str | Path]] = [
                ["mv", home / "data" / "pg_wal", log / "wal"],
                ["ln", "-s", log / "wal", home / "data" / "pg_wal"],
            ]
            for command in commands:
                subprocess.run(as_root(command), check=True)
            subprocess.run(as_root(["chown", SERVER_USER, log]), check=True)
            found = Server(home)
            found.start()
            try:
                found.execute(*(f"CREATE ROLE {role} LOGIN" for role in (OWNER, RELAY, LISTEN)))
                yield found, home
            finally:
                found.stop()
        finally:
            subprocess.run(as_root(["umount", home]), check=True)


@contextmanager
def _home() -> Iterator[Path]:
    home = new_postgres_home()
    try:
        yield home
    finally:
        remove_home(home)
