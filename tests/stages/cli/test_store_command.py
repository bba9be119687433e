"""`sluis store`: tables made and migrated in the open, and a check that finds what is wrong."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from relay.audit.event import erase
from relay.cli.store import command
from relay.model.delivery import State
from relay.model.errors import StoreError
from relay.model.message import Outcome, Signed
from relay.model.reply import Reply
from relay.store import schema
from relay.store.engine import WriterLock, sqlite_path
from relay.store.spool.format import BODY_START
from tests.servers.database import Database
from tests.servers.postgres import LISTEN, OWNER, RELAY
from tests.servers.recording import Recording, recording_on

TRIGGER = "SELECT sql FROM sqlite_master WHERE name = 'event_record_no_update'"


class Place:
    """A folder with settings, a store and a spool, and the command run on it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        spool = '[spool]\nfolder = "spool"\npublic_key = "keys/spool.pub"\nprivate_keys = "keys/spool"\n'
        self.write(f'hostname = "relay.example.nl"\n[store]\nurl = "{database.relay.url}"\n{spool}')

    def write(self, settings: str) -> None:
        (self.folder / "sluis.toml").write_text(settings)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--config", str(self.folder / "sluis.toml")])

    def upgrade(self) -> Result:
        owner = ("--url", self.database.owner.url) if self.database.dialect == "postgresql" else ()
        return self.run("upgrade", *owner)

    def check(self, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Exit code, and what each check said."""
        result = self.run("check", *options, "--json")
        told = json.loads(result.stdout)
        assert told["ok"] == (result.exit_code == 0)
        return result.exit_code, {check["name"]: check for check in told["checks"]}

    def wrong(self, *options: str) -> dict[str, list[str]]:
        """The problems of each check that found any; the exit code fits."""
        code, checks = self.check(*options)
        wrong = {name: check["problems"] for name, check in checks.items() if not check["ok"]}
        assert code == (1 if wrong else 0)
        return wrong

    def as_owner(self, *statements: str, **given: object) -> None:
        engine = self.database.owner_engine()
        try:
            with engine.begin() as connection:
                for statement in statements:
                    connection.execute(text(statement), given)
        finally:
            engine.dispose()

    def drop_trigger(self, name: str, table: str) -> str:
        return f"DROP TRIGGER {name}" + (f" ON {table}" if self.database.dialect == "postgresql" else "")


@pytest.fixture
def empty(empty_database: Database, tmp_path: Path) -> Place:
    return Place(tmp_path, empty_database)


@pytest.fixture
def place(new_database: Database, tmp_path: Path) -> Place:
    return Place(tmp_path, new_database)


@pytest.fixture
def filled(place: Place) -> Iterator[Recording]:
    """Some messages on their way, beside the place: the relay is running."""
    with recording_on(place.database.relay, place.folder) as recording:
        recording.accept(State.READY, State.HELD)
        recording.accept(State.QUARANTINED)
        yield recording


def test_upgrade_says_from_what_to_what(empty: Place) -> None:
    assert empty.upgrade().output == f"store schema: empty -> {schema.newest()}\n"
    assert empty.upgrade().output == f"store schema: {schema.newest()} -> {schema.newest()} (nothing to do)\n"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_owner_makes_the_tables_and_the_relay_s_role_gets_its_rights(empty: Place) -> None:
    assert empty.upgrade().exit_code == 0
    with recording_on(empty.database.relay, empty.folder) as recording:
        recording.accept()
    assert empty.wrong() == {}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_role_that_only_listens_gets_what_accepting_needs(empty: Place) -> None:
    assert empty.run("upgrade", "--url", empty.database.owner.url, "--listen-role", LISTEN).exit_code == 0
    with recording_on(empty.database.listen, empty.folder) as recording:
        recording.accept()
        with pytest.raises(StoreError, match="permission denied"):
            recording.claim()
    assert empty.wrong() == {}


@pytest.mark.parametrize("role", [RELAY, OWNER])
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_what_listens_takes_a_role_of_its_own(empty: Place, role: str) -> None:
    result = empty.run("upgrade", "--url", empty.database.owner.url, "--listen-role", role)
    assert result.exit_code == 1
    assert "takes a role of its own" in result.stderr
    assert "is empty" in empty.wrong()["schema"][0]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_sqlite_has_no_roles(empty: Place) -> None:
    result = empty.run("upgrade", "--listen-role", LISTEN)
    assert result.exit_code == 1
    assert "SQLite has no roles" in result.stderr


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_role_that_owns_the_tables_is_called_wrong(empty: Place) -> None:
    """It could drop the triggers, and with them the promise that events stay."""
    settings = (empty.folder / "sluis.toml").read_text()
    empty.write(settings.replace(RELAY, OWNER))
    assert empty.run("upgrade").exit_code == 0
    with recording_on(empty.database.owner, empty.folder):
        pass
    problems = empty.wrong()
    assert problems.keys() == {"ownership"}
    assert any("owns event:" in problem for problem in problems["ownership"])


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_role_that_is_not_there_changes_nothing(empty: Place) -> None:
    result = empty.run("upgrade", "--url", empty.database.owner.url, "--relay-role", "nobody'; DROP TABLE x; --")
    assert result.exit_code == 1
    assert "could not be migrated" in result.stderr
    assert "Traceback" not in result.output
    assert "is empty" in empty.wrong()["schema"][0]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_upgrade_waits_for_nobody_while_the_relay_runs(place: Place) -> None:
    path = sqlite_path(place.database.relay)
    assert path is not None
    lock = WriterLock(path)
    lock.acquire()
    result = place.upgrade()
    lock.release()
    assert result.exit_code == 1
    assert "held by process" in result.stderr


def test_a_sound_store_is_called_so_while_the_relay_runs(place: Place, filled: Recording) -> None:
    [claimed] = filled.claim()
    asyncio.run(filled.record.mark(claimed, (0, 0, 0)))
    asyncio.run(filled.record.outcomes(Signed(claimed, b""), [Outcome(0, State.DELIVERED, "250 Ok", "2.0.0")], {}))
    code, checks = place.check()
    assert code == 0
    assert checks["events"]["said"] == "3 sound"
    assert checks["balance"]["said"] == "3 recipients accepted = 1 delivered + 0 bounced + 0 deleted + 2 waiting"
    assert checks["bodies"]["said"] == "2 in the spool, 2 of them read whole"
    result = place.run("check")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [[name, "ok"] for name in checks]


def test_an_empty_store_is_not_checked_further(empty: Place) -> None:
    code, checks = empty.check()
    assert code == 1
    assert checks.keys() == {"schema"}
    assert "sluis store upgrade" in checks["schema"]["problems"][0]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_check_makes_no_store_where_there_is_none(empty: Place) -> None:
    empty.check()
    path = sqlite_path(empty.database.relay)
    assert path is not None
    assert not path.exists()


def test_a_missing_trigger_is_named(place: Place, filled: Recording) -> None:
    place.as_owner(place.drop_trigger("event_no_delete", "event"))
    assert "event_no_delete" in place.wrong()["schema"][0]


def test_a_forged_record_is_named_and_an_erased_one_is_fine(place: Place, filled: Recording) -> None:
    first, second = (row["id"] for row in filled.rows("event"))
    engine = place.database.owner_engine()
    with engine.begin() as connection:
        erase(connection, [second])
    engine.dispose()
    assert place.check()[1]["events"]["said"] == "1 sound, 1 erased"
    if place.database.dialect == "sqlite":
        [trigger] = filled.reader.read_now(lambda connection: connection.execute(text(TRIGGER)).all())
        place.as_owner("DROP TRIGGER event_record_no_update", "UPDATE event_record SET canonical = x'00' WHERE salt <> x''", trigger.sql)
    else:
        forge = "UPDATE event_record SET canonical = 'x' WHERE salt <> ''"
        place.as_owner("ALTER TABLE event_record DISABLE TRIGGER ALL", forge, "ALTER TABLE event_record ENABLE TRIGGER ALL")
    assert place.wrong() == {"events": [f"event {first.hex} (accepted) is not what was committed to"]}


def test_a_delivery_that_is_gone_is_missed(place: Place, filled: Recording) -> None:
    place.as_owner("DELETE FROM delivery WHERE state = 'held'")
    assert place.wrong() == {"balance": ["1 recipients are missing"]}


def test_running_counts_that_do_not_fit_are_told(place: Place, filled: Recording) -> None:
    place.as_owner("UPDATE tally SET count = count + 1 WHERE name = 'held'")
    [problem] = place.wrong()["balance"]
    assert "found: ready 1, held 1, quarantined 1; counted: ready 1, held 2, quarantined 1" in problem


def test_a_body_that_is_gone_altered_or_locked_is_named_with_its_message(place: Place, filled: Recording) -> None:
    for _ in range(2):
        filled.accept()
    ids = [row["id"] for row in filled.rows("message")]
    names = [identity.hex for identity in ids]
    filled.spool.path(names[0]).unlink()
    with filled.spool.path(names[1]).open("r+b") as file:
        file.truncate(BODY_START + 10)
    with filled.spool.path(names[2]).open("r+b") as file:
        file.seek(16)
        file.write(bytes(272))
    problems = place.wrong()["bodies"]
    assert [problem.partition(":")[0] for problem in problems] == [f"message {name}" for name in names[:3]]
    assert "No such file" in problems[0]
    assert "cut short" in problems[1]
    assert "damaged or wiped" in problems[2]


def test_a_body_of_another_size_than_the_record_says_is_named(place: Place, filled: Recording) -> None:
    place.as_owner("UPDATE message SET size = size + 1 WHERE recipients = 1")
    [problem] = place.wrong()["bodies"]
    assert "the record says" in problem


def flip(path: Path, offset: int) -> None:
    """One bit of an object's body."""
    with path.open("r+b") as file:
        file.seek(BODY_START + offset)
        octet = file.read(1)[0]
        file.seek(BODY_START + offset)
        file.write(bytes([octet ^ 1]))


def test_an_octet_that_was_flipped_in_a_body_that_waits_is_found(place: Place, filled: Recording) -> None:
    first, _ = filled.rows("message")
    flip(filled.spool.path(first["spool_object"]), 5)
    [problem] = place.wrong()["bodies"]
    assert problem.startswith(f"message {first['id'].hex}: ")
    assert "altered" in problem


def test_a_body_of_another_digest_than_the_record_says_is_named(place: Place, filled: Recording) -> None:
    place.as_owner("UPDATE message SET digest = 'ab' WHERE recipients = 1")
    [problem] = place.wrong()["bodies"]
    assert "the record says ab" in problem


def test_a_body_that_waits_for_nobody_is_read_when_all_are_asked_for(place: Place, filled: Recording) -> None:
    place.as_owner("UPDATE delivery SET state = 'delivered' WHERE state = 'quarantined'")
    _, second = filled.rows("message")
    flip(filled.spool.path(second["spool_object"]), 5)
    told = place.check()[1]["bodies"]
    assert (told["ok"], told["said"]) == (True, "2 in the spool, 1 of them read whole")
    told = place.check("--bodies")[1]["bodies"]
    assert (told["wrong"], told["said"]) == (1, "2 in the spool, 1 of them read whole")


def test_keys_that_are_not_there_are_a_problem_and_no_traceback(place: Place, filled: Recording) -> None:
    (place.folder / "keys" / "spool.pub").unlink()
    [problem] = place.wrong()["bodies"]
    assert "sluis keys spool new" in problem


def test_many_problems_are_counted_and_the_first_are_named(place: Place, filled: Recording) -> None:
    for _ in range(25):
        filled.accept()
    for row in filled.rows("message"):
        filled.spool.path(row["spool_object"]).unlink()
    result = place.run("check")
    assert result.exit_code == 1
    assert result.stdout.count("No such file") == 20
    assert "and 7 more" in result.stdout
    assert place.check()[1]["bodies"]["wrong"] == 27


def test_refused_messages_have_no_body_to_look_for(place: Place, filled: Recording) -> None:
    asyncio.run(filled.record.refuse(filled.decided((State.REFUSED,)), Reply(550, 7, 1, "No"), "no"))
    assert place.check()[1]["bodies"]["said"] == "2 in the spool, 2 of them read whole"


@pytest.mark.parametrize("arguments", [("upgrade", "--url", "mysql://x/y"), ("upgrade", "--url", "postgresql+psycopg://a:secret@x/y")])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_url_that_can_not_be_used_is_told_without_its_password(place: Place, arguments: tuple[str, ...]) -> None:
    result = place.run(*arguments, "--relay-role", "x")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "secret" not in result.output
