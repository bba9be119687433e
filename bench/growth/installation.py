"""A relay of the bench: its folder, its store on SQLite or on a PostgreSQL cluster of its own, its process, and what that has cost."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from relay.demo.stage import Relay
from relay.phases import change
from relay.settings.load import load_settings
from relay.settings.models import Settings, Store
from relay.sign.new_key import new_key
from relay.store import schema
from relay.store.engine import open_engine
from relay.store.journal import Journal
from relay.store.spool.keys import new_keypair

OURS = "load.test"
CLIENT = "mailserver"
BINARIES = Path("/usr/lib/postgresql/15/bin")
OWNER, RELAY = "sluis_owner", "sluis_relay"
TICKS = os.sysconf("SC_CLK_TCK")

SETTINGS = """hostname = "relay.load.test"
policies = "policies"
secrets = "secrets"
dkim_keys = "keys/dkim"

[[listeners]]
name = "inside"
side = "inside"
addresses = ["127.0.0.1:0"]
require_tls = false
connections_per_minute = 100000

[store]
url = "{store}"

[spool]
folder = "spool"
public_key = "keys/spool.pub"
private_keys = "keys/spool"
full_percent = 99.9

[control]
socket = "control.sock"
two_people = false

[http]
address = "127.0.0.1:0"

[policy]
source = "folder"
"""
POLICY = {
    "organisation.yaml": """name: The organisation of the bench
domains: [load.test]
authserv_id: relay.load.test
postmaster: postmaster@load.test
phases: [closed, open]
""",
    "clients.yaml": """clients:
  - name: mailserver
    side: inside
    addresses: [127.0.0.1/32]
    require_tls: false
    may_send_as: [load.test]
    may_send_to: ["*"]
    limits: {messages_per_hour: 10000000, recipients_per_hour: 10000000}
    sender_limits: {messages_per_hour: 10000000, recipients_per_hour: 10000000}
""",
    "routes.yaml": """routes:
  - name: outside
    to: ["*"]
    smart_host: 127.0.0.1:@SINK@
    tls: none
""",
    "signing.yaml": """signing:
  - domain: load.test
    keys:
      - {selector: rsa, algorithm: rsa-sha256}
      - {selector: ed, algorithm: ed25519-sha256}
""",
    "rules/pass.yaml": """rules:
  - {name: pass, then: deliver, because: ordinary mail}
  - {name: many-firsts, when: {first_time_recipients_today: {more_than: 1000000}}, then: quarantine, because: looked up for each message}
""",
}


def set_up(folder: Path, store: Store, owner: Store, sink: int) -> Settings:
    """An empty relay, open for everybody, which hands on to port `sink`. `owner`: the store as the owner of its tables reaches it."""
    folder.mkdir(parents=True)
    for name, text in POLICY.items():
        path = folder / "policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@SINK@", str(sink)))
    (folder / "sluis.toml").write_text(SETTINGS.format(store=store.url))
    (folder / "secrets").mkdir(mode=0o700)
    settings = load_settings(folder / "sluis.toml")
    assert settings.spool.private_keys is not None
    new_keypair(settings.spool.public_key, settings.spool.private_keys)
    for selector, algorithm in (("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")):
        new_key(settings.dkim_keys, OURS, selector, algorithm, 2048)
    engine = open_engine(owner)
    journal = Journal(engine)
    try:
        schema.upgrade(engine, RELAY if engine.dialect.name == "postgresql" else None)
        journal.start()
        journal.submit_now(partial(change.set_phase, phase="open", actor="bench", reason="the bench", now_us=time.time_ns() // 1000))
    finally:
        journal.close()
        engine.dispose()
    return settings


async def started(folder: Path) -> tuple[Relay, float]:
    """The relay over `folder`, and how many seconds it took until it listened."""
    relay = Relay(folder / "sluis.toml")
    begun = time.monotonic()
    await relay.start()
    return relay, time.monotonic() - begun


def pid_of(relay: Relay) -> int:
    """Of its first process."""
    assert relay._process is not None
    return relay._process.pid


def cpu_seconds(*roots: int) -> float:
    """What these processes and all their descendants have used, those that have ended too."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        used[int(entry.name)] = sum(int(value) for value in fields[11:15])
    total = 0
    for pid in used:
        ancestor = pid
        while ancestor not in roots and ancestor in parents:
            ancestor = parents[ancestor]
        if ancestor in roots:
            total += used[pid]
    return total / TICKS


class Cluster:
    """A PostgreSQL server with its files on the disk, fsync on."""

    def __init__(self, folder: Path, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.port = port
        self.process = process

    def store(self, database: str, role: str) -> Store:
        """Settings to reach `database` as `role`."""
        return Store(url=f"postgresql+psycopg://{role}@/{database}?host={self.folder}&port={self.port}")

    def execute(self, statement: str, database: str = "postgres") -> None:
        """As the superuser, in a transaction of its own."""
        with psycopg.connect(host=str(self.folder), port=self.port, user="postgres", dbname=database, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Made, started, and stopped at the end; its files stay, and are used again."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.chown(folder, "postgres")
    fresh = not (folder / "data").exists()
    if fresh:
        initdb = [
            str(BINARIES / "initdb"),
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "-A",
            "trust",
            "-D",
            str(folder / "data"),
        ]
        subprocess.run(_as_postgres(initdb), cwd=folder, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = {"listen_addresses": "", "port": str(port), "unix_socket_directories": str(folder), "shared_buffers": "1GB"}
    values |= {"max_wal_size": "4GB", "maintenance_work_mem": "512MB", "checkpoint_timeout": "5min"}
    command = [str(BINARIES / "postgres"), "-D", str(folder / "data"), *(word for key in values for word in ("-c", f"{key}={values[key]}"))]
    with (folder / "log").open("ab") as output:
        process = subprocess.Popen(_as_postgres(command), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    running = Cluster(folder, port, process)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                running.execute("SELECT 1")
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        if fresh:
            for role in (OWNER, RELAY):
                running.execute(f"CREATE ROLE {role} LOGIN")
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(300)


def _as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    entry = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", *command] if os.geteuid() == 0 else command
