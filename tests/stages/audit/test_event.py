"""Events: what was committed to can be shown to anybody, what was erased tells nothing, and what was forged is found."""

import hashlib
import hmac
import json
import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from relay.audit.event import NewEvent, check, erase, make_event, write
from tests.servers.database import Database


def make(number: int = 0, **changes: object) -> NewEvent:
    values: dict[str, object] = {
        "object_": f"message {number}",
        "result": "accepted",
        "origin": "inside [192.0.2.10]",
        "actor": "relay relay.example.nl",
        "time_us": 1_795_460_000_000_000 + number,
        "reason": "by rule",
        "message_id": uuid.UUID(int=number),
        "details": {"sender": "jan@example.nl", "number": number},
    }
    return make_event("accepted", **{**values, **changes})  # type: ignore[arg-type]


def independent_commitment(canonical: bytes, salt: bytes) -> bytes:
    """HMAC-SHA256 as RFC 2104 §2 writes it down, without the code under test."""
    key = salt.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in key) + canonical).digest()
    return hashlib.sha256(bytes(octet ^ 0x5C for octet in key) + inner).digest()


def states_of(engine: Engine, after: uuid.UUID | None = None, limit: int = 1000) -> list[str]:
    with engine.connect() as connection:
        return [item.state for item in check(connection, after, limit)]


def stored(engine: Engine, *events: NewEvent) -> None:
    with engine.begin() as connection:
        write(connection, events)


def test_the_commitment_is_hmac_sha256_of_the_canonical_form_under_a_salt_of_32_octets() -> None:
    event = make()
    assert len(event.salt) == 32
    assert event.commitment == independent_commitment(event.canonical, event.salt)


def test_openssl_computes_the_same_commitment_as_the_page_on_the_record_tells(tmp_path: Path) -> None:
    event = make()
    (tmp_path / "canonical.json").write_bytes(event.canonical)
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{event.salt.hex()}", str(tmp_path / "canonical.json")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.split()[-1] == event.commitment.hex()


def test_two_events_of_the_same_kind_have_different_salts_and_commitments() -> None:
    first, second = make(), make()
    assert first.salt != second.salt
    assert first.commitment != second.commitment


def test_a_commitment_tells_nothing_to_who_guesses_the_record() -> None:
    """Without the salt a right guess can not be told from a wrong one: a plain hash would give it away."""
    event = make()
    assert event.commitment != hashlib.sha256(event.canonical).digest()
    assert event.commitment != hmac.new(b"", event.canonical, hashlib.sha256).digest()


def test_the_canonical_form_has_the_fields_of_bio2_8_15_and_the_event_s_own_id() -> None:
    event = make(7)
    assert json.loads(event.canonical) == {
        "id": str(event.id),
        "kind": "accepted",
        "object": "message 7",
        "result": "accepted",
        "origin": "inside [192.0.2.10]",
        "actor": "relay relay.example.nl",
        "time_us": "1795460000000007",
        "reason": "by rule",
        "details": {"sender": "jan@example.nl", "number": 7},
    }


def test_the_canonical_form_is_rfc_8785() -> None:
    """Keys by UTF-16 code units (§3.2.3), no white space (§3.2.1), the shortest escapes (§3.2.2.2), numbers as ECMAScript (§3.2.2.3)."""
    event = make(details={"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4.50, "\U0001f600": 1e-07, "\u0080": None, "\u00f6": 'a"\\\b\x1f\u2028'})
    canonical = event.canonical.decode()
    wanted = '{"\\r":2,"1":4.5,"\u0080":null,"\u00f6":"a\\"\\\\\\b\\u001f\u2028","\u20ac":1,"\U0001f600":1e-7,"\ufb33":3}'
    assert f'"actor":"relay relay.example.nl","details":{wanted},"id":"' in canonical
    keys = list(json.loads(canonical))
    assert keys == sorted(keys)


def test_a_number_that_not_every_reader_reads_alike_is_refused() -> None:
    """RFC 8785 §3.2.2.3: beyond 2^53 two readers may see two numbers."""
    make(details={"size": 2**53 - 1})
    with pytest.raises(Exception, match="9007199254740993"):
        make(details={"size": 2**53 + 1})


def test_a_sound_event_is_sound(engine: Engine) -> None:
    stored(engine, *(make(number) for number in range(5)))
    assert states_of(engine) == ["sound"] * 5


def test_what_was_erased_is_called_erased_and_the_rest_stays_sound(engine: Engine, owner: Engine) -> None:
    events = [make(number) for number in range(3)]
    stored(engine, *events)
    with owner.begin() as connection:
        assert erase(connection, [events[1].id]) == 1
        assert erase(connection, [uuid.uuid4()]) == 0
    assert states_of(engine) == ["sound", "erased", "sound"]


def test_erasing_twice_changes_nothing(engine: Engine, owner: Engine) -> None:
    event = make()
    stored(engine, event)
    for _ in range(2):
        with owner.begin() as connection:
            erase(connection, [event.id])
    assert states_of(engine) == ["erased"]


FORGERIES = {
    "another record": "UPDATE event_record SET canonical = :other",
    "one octet": "UPDATE event_record SET canonical = canonical || :octet",
    "another salt": "UPDATE event_record SET salt = :other",
    "an empty salt": "UPDATE event_record SET salt = :empty",
    "an empty record under its salt": "UPDATE event_record SET canonical = :empty",
    "the record gone": "DELETE FROM event_record",
    "another commitment": "UPDATE event SET commitment = :other",
}


@pytest.mark.parametrize("statement", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_by_who_took_the_triggers_away_is_found(new_database: Database, engine: Engine, statement: str) -> None:
    stored(engine, make())
    owner = new_database.owner_engine()
    with owner.begin() as connection:
        for table in ("event", "event_record"):
            for name in (f"{table}_no_update", f"{table}_no_delete"):
                connection.execute(text(f"DROP TRIGGER {name}" + (f" ON {table}" if owner.dialect.name == "postgresql" else "")))
        given = {"other": os.urandom(32), "octet": b" ", "empty": b""}
        bound = {key: value for key, value in given.items() if f":{key}" in statement}
        connection.execute(text(statement), bound)
    owner.dispose()
    assert states_of(engine) == ["broken"]


def test_the_record_of_one_event_does_not_pass_for_another(new_database: Database, engine: Engine) -> None:
    """Each canonical form holds its event's id, and each commitment its record's salt."""
    first, second = make(1), make(2)
    stored(engine, first)
    with engine.begin() as connection:
        write(connection, [NewEvent(second.id, second.kind, second.commitment, first.canonical, first.salt, None)])
    assert states_of(engine) == ["sound", "broken"]


def test_a_copy_of_an_event_under_another_id_or_kind_is_broken(engine: Engine) -> None:
    event = make()
    copies = [replace(event, id=make().id), replace(event, id=make().id, kind="refused")]
    stored(engine, event, *copies)
    assert states_of(engine) == ["sound", "broken", "broken"]


def test_a_long_log_is_checked_page_by_page(engine: Engine) -> None:
    stored(engine, *(make(number) for number in range(25)))
    after: uuid.UUID | None = None
    seen: list[uuid.UUID] = []
    while True:
        with engine.connect() as connection:
            page = list(check(connection, after, 10))
        seen += [item.id for item in page]
        assert len(page) <= 10
        if len(page) < 10:
            break
        after = page[-1].id
    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen)


def test_nothing_personal_is_in_the_event_table(engine: Engine) -> None:
    stored(engine, make(reason="about jan@example.nl"))
    with engine.connect() as connection:
        [row] = connection.execute(text("SELECT * FROM event"))
    kept = repr(dict(row._mapping)).encode() + bytes(row.commitment)
    for personal in (b"jan", b"example", b"192.0.2.10", b"message"):
        assert personal not in kept


def test_events_of_no_work_are_no_rows(engine: Engine) -> None:
    stored(engine)
    assert states_of(engine) == []
