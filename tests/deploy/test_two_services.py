"""The relay as two services on PostgreSQL, each under its unit, with a user and a database role of its own: what docs/deploying.md makes.

A message goes from one to the other; and whoever takes over the one that listens can neither read the spool nor sign."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.deploy.installation import (
    GROUP,
    SLUIS,
    USERS,
    Installation,
    change,
    installation,
    make_folders_of_two,
    privileged_port,
    processes,
    send,
)
from tests.deploy.roles import make_roles
from tests.servers.certificates import Authority, issue, make_ca
from tests.servers.daemon import as_root
from tests.servers.postgres import Cluster
from tests.servers.postgres import running as running_cluster
from tests.servers.sink import Sink
from tests.stories.house import trusting

LISTEN, DELIVER, UPGRADE = "sluis-listen.service", "sluis-deliver.service", "sluis-store-upgrade.service"
PASSWORDS = {"owner": "one", "relay": "two", "listen": "three"}
USER_OF = {"owner": "sluis", "relay": "sluis-deliver", "listen": "sluis-listen"}
DECRYPT = """
import sys
from pathlib import Path
from relay.model.errors import SluisError
from relay.settings.load import load_settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool.folder import FolderSpool
settings = load_settings(Path(sys.argv[1])).spool
for keys in (None, settings.private_keys):
    try:
        spool = FolderSpool(settings.model_copy(update={"private_keys": keys}), RelaxedBodyHash)
        print(b"Beste Jan" in b"".join(spool.open(sys.argv[2]).chunks()))
    except SluisError as error:
        print(type(error).__name__)
"""


@contextmanager
def two_services(cluster: Cluster, ca: Authority, sink_port: int, port: int) -> Iterator[Installation]:
    """Roles, settings, password files and folders; no keys and no tables yet."""
    make_roles(cluster, **{f"{name}_password": password for name, password in PASSWORDS.items()})
    with installation(sink_port, port) as made:
        make_folders_of_two(made)
        store = f"127.0.0.1:{cluster.port}/sluis"
        change(made.etc / "sluis.toml", {"sqlite:////var/lib/sluis/sluis.db": f"postgresql+psycopg://sluis_relay@{store}"})
        listens = (made.etc / "sluis.toml").read_text().replace("sluis_relay@", "sluis_listen@")
        chain, key = issue(ca, ["localhost"], ["127.0.0.1"])
        (made.etc / "tls").mkdir()
        (made.etc / "tls" / "chain.pem").write_bytes(chain.read_bytes())
        (made.etc / "tls" / "key.pem").write_bytes(key.read_bytes())
        made.own(made.etc / "tls" / "key.pem", "sluis-listen", "0600")
        commented = '# tls = { certificate = "/etc/sluis/tls/chain.pem", key = "/etc/sluis/tls/key.pem" }'
        (made.etc / "listen.toml").write_text(listens.replace(commented, commented.removeprefix("# ")))
        change(made.etc / "sluis.toml", {commented: commented.removeprefix("# ")})  # the same in both, whoever may read the key
        for name, password in PASSWORDS.items():
            file = made.etc / "secrets" / f"{name}.pgpass"
            file.write_text(f"127.0.0.1:{cluster.port}:sluis:sluis_{name}:{password}\n")
            made.own(file, USER_OF[name], "0600")
        (made.etc / "store-upgrade.env").write_text(
            f"SLUIS_STORE_URL=postgresql+psycopg://sluis_owner@{store}\n"
            "SLUIS_LISTEN_ROLE=sluis_listen\n"
            "PGPASSFILE=/etc/sluis/secrets/owner.pgpass\n"
        )
        yield made


def connected(cluster: Cluster) -> set[str]:
    """The roles that have a connection to the store."""
    with psycopg.connect(host=str(cluster.sockets), port=cluster.port, user=cluster.superuser, dbname="postgres") as connection:
        return {row[0] for row in connection.execute("SELECT usename FROM pg_stat_activity WHERE datname = 'sluis'")}


def as_user(user: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command by a user of the units, without a unit: only ids and modes of files stand in the way."""
    words = ["setpriv", f"--reuid={USERS[user]}", f"--regid={GROUP}", "--clear-groups", *command]
    return subprocess.run(as_root(words), capture_output=True, text=True, check=False)


def test_a_message_goes_through_two_services_and_the_one_that_listens_has_no_key(tmp_path: Path) -> None:
    async def story() -> None:
        ca, port = make_ca(tmp_path), privileged_port()
        async with Sink() as sink:
            with running_cluster() as cluster, two_services(cluster, ca, sink.port, port) as made:
                await made.done(DELIVER, [SLUIS, "keys", "spool", "new", "--config", "/etc/sluis/sluis.toml"])
                await made.done(DELIVER, [SLUIS, "dkim", "new", "example.org", "--config", "/etc/sluis/sluis.toml"])
                await made.start(UPGRADE)
                async with made.serving(DELIVER, PGPASSFILE="/etc/sluis/secrets/relay.pgpass"):
                    pass  # puts the policy in force, which the one that listens may not
                async with made.serving(LISTEN, PGPASSFILE="/etc/sluis/secrets/listen.pgpass") as listening:
                    ids_are(listening.pid, "sluis-listen", f"{1 << 10:016x}")
                    reply = await asyncio.to_thread(send, port, b"Beste Jan,", trusting(ca.certificate))
                    assert reply.startswith("250 2.0.0 Ok: queued as ")
                    assert connected(cluster) == {"sluis_listen"}
                    async with made.serving(DELIVER, PGPASSFILE="/etc/sluis/secrets/relay.pgpass") as delivering:
                        ids_are(delivering.pid, "sluis-deliver", f"{0:016x}")
                        [message] = await sink.wait_for_messages(1)
                        assert message.raw.endswith(b"\r\n\r\nBeste Jan,\r\n")
                        assert connected(cluster) == {"sluis_listen", "sluis_relay"}
                        rotated = await made.done(DELIVER, [SLUIS, "keys", "spool", "rotate", "--reason", "a test"])
                        assert "1 bodies wrapped to it, 0 could not be" in rotated
                        await made.reload(LISTEN, listening.pid)
                        await asyncio.to_thread(send, port, b"Tot ziens,", trusting(ca.certificate))
                        assert len(await sink.wait_for_messages(2)) == 2
                keys_stay_where_they_belong(made)
                await bodies_can_be_read_by_the_other_only(made)

    asyncio.run(story())


def ids_are(pid: int, user: str, capabilities: str) -> None:
    """Of the relay and its workers."""
    relay, _template, *workers = processes(pid)
    assert (relay["Umask"], relay["CapEff"], len(workers)) == ("0007", capabilities, 2)
    for status in (relay, *workers):
        assert (status["Uid"].split()[0], status["Gid"].split()[0]) == (str(USERS[user]), str(GROUP))


def files(folder: Path) -> dict[Path, tuple[str, str]]:
    """Every file below a folder, with its owner's id and its mode; found by root."""
    words: list[str | Path] = ["find", folder, "-type", "f", "-printf", "%p %U %m\\n"]
    found = subprocess.run(as_root(words), capture_output=True, text=True, check=True).stdout.split()
    return {Path(path): (owner, mode) for path, owner, mode in zip(found[::3], found[1::3], found[2::3], strict=True)}


def keys_stay_where_they_belong(made: Installation) -> None:
    """By the modes of files, without a unit."""
    private = files(made.state / "keys" / "spool") | files(made.state / "keys" / "dkim")
    assert len(private) == 4
    assert set(private.values()) == {(str(USERS["sluis-deliver"]), "600")}
    secrets = made.etc / "secrets"
    for path in (*private, secrets / "relay.pgpass", secrets / "owner.pgpass"):
        assert "Permission denied" in as_user("sluis-listen", "cat", path).stderr
    for path in (made.etc / "tls" / "key.pem", secrets / "listen.pgpass"):
        assert "Permission denied" in as_user("sluis-deliver", "cat", path).stderr
    assert as_user("sluis-listen", "cat", made.state / "keys" / "spool.pub").returncode == 0
    assert "Permission denied" in as_user("sluis-listen", "touch", made.state / "keys" / "spool.pub").stderr


async def bodies_can_be_read_by_the_other_only(made: Installation) -> None:
    """What the one that listens wrote is its own file, and for its key it asks in vain."""
    bodies = {path: mode for path, mode in files(made.state / "spool").items() if len(path.name) == 32}  # beside them lie marks
    assert set(bodies.values()) == {(str(USERS["sluis-listen"]), "660")}
    for unit, settings, said in (
        (LISTEN, "listen.toml", ["SpoolUnavailable", "ConfigurationError"]),
        (DELIVER, "sluis.toml", ["SpoolUnavailable", "True"]),
    ):
        out = await made.done(unit, [sys.executable, "-c", DECRYPT, f"/etc/sluis/{settings}", min(bodies).name])
        assert out.split() == said
