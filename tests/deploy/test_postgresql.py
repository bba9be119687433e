"""The roles of deploy/postgresql, on a real PostgreSQL."""

import subprocess

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from relay.store.engine import open_engine
from relay.store.schema import check_schema, upgrade
from tests.deploy.roles import SHIPPED, make_roles
from tests.servers.postgres import running


def test_the_owner_migrates_and_the_others_can_work_but_own_nothing() -> None:
    with running() as cluster:
        make_roles(cluster, owner_password="o'ne", relay_password="two", listen_password="three")
        owner = open_engine(cluster.store("sluis", "sluis_owner"))
        upgrade(owner, "sluis_relay", "sluis_listen")
        owner.dispose()
        for role in ("sluis_relay", "sluis_listen"):
            engine = open_engine(cluster.store("sluis", role))
            check_schema(engine)
            for statement in ("TRUNCATE event", "DROP TRIGGER event_no_delete ON event", "DELETE FROM event", "CREATE TABLE mine (id int)"):
                with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), engine.begin() as connection:
                    connection.execute(text(statement))
            engine.dispose()


def test_without_its_password_there_is_no_role_that_listens() -> None:
    with running() as cluster:
        make_roles(cluster, owner_password="one", relay_password="two")
        engine = open_engine(cluster.store("sluis", "sluis_owner"))
        with engine.connect() as connection:
            roles = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'sluis%' ORDER BY 1")).scalars().all()
        engine.dispose()
        assert roles == ["sluis_owner", "sluis_relay"]


def test_the_script_of_the_container_hands_over_both_passwords() -> None:
    script = (SHIPPED / "10-roles.sh").read_text()
    for name in ("owner_password", "relay_password"):
        assert f'-v {name}="$(cat /run/secrets/{name})"' in script
    assert subprocess.run(["sh", "-n", SHIPPED / "10-roles.sh"], check=False).returncode == 0
