"""The roles of deploy/postgresql, on a real PostgreSQL."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from relay.store.engine import open_engine
from relay.store.schema import check_schema, upgrade
from tests.servers.postgres import BINARIES, running

SHIPPED = Path(__file__).parents[2] / "deploy" / "postgresql"


def test_the_owner_migrates_and_the_relay_can_work_but_owns_nothing() -> None:
    with running() as cluster:
        cluster.execute("DROP ROLE IF EXISTS sluis_owner", "DROP ROLE IF EXISTS sluis_relay")
        command = [str(BINARIES / "psql"), "--no-psqlrc", "-h", str(cluster.sockets), "-p", str(cluster.port), "-U", cluster.superuser]
        command += ["-d", "postgres", "-v", "owner_password=o'ne", "-v", "relay_password=two", "-f", str(SHIPPED / "roles.sql")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

        owner = open_engine(cluster.store("sluis", "sluis_owner"))
        upgrade(owner, "sluis_relay")
        owner.dispose()
        relay = open_engine(cluster.store("sluis", "sluis_relay"))
        check_schema(relay)
        for statement in ("TRUNCATE event", "DROP TRIGGER event_no_delete ON event", "DELETE FROM event", "CREATE TABLE mine (id int)"):
            with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), relay.begin() as connection:
                connection.execute(text(statement))
        relay.dispose()


def test_the_script_of_the_container_hands_over_both_passwords() -> None:
    script = (SHIPPED / "10-roles.sh").read_text()
    for name in ("owner_password", "relay_password"):
        assert f'-v {name}="$(cat /run/secrets/{name})"' in script
    assert subprocess.run(["sh", "-n", SHIPPED / "10-roles.sh"], check=False).returncode == 0
