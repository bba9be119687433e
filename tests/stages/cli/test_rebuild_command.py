"""`sluis store rebuild`: what the spool has and the store does not know comes back, in quarantine, with the brake on."""

import json
import shutil
from pathlib import Path
from typing import Any

from relay.model.client import Side
from relay.model.delivery import State
from relay.phases import state as phase_state
from relay.record.rebuilt import read_object
from relay.store.spool.format import BODY_START
from relay.store.states import balance
from tests.servers.recording import Recording, recording_on
from tests.stages.cli.machine import WORDS, Machine, bring_keys

DIFFERENT = {"inspection"}
"""It is found again before the message may leave."""


def same(row: dict[str, Any]) -> dict[str, Any]:
    """What must come back as it was."""
    return {name: value for name, value in row.items() if name not in DIFFERENT}


def lose_the_store(old: Machine, new: Machine) -> None:
    """The new machine has the spool and the keys, and an empty store."""
    bring_keys(old, new)
    shutil.copytree(old.folder / "spool", new.folder / "spool")
    new.database.upgrade()


def test_every_sealed_body_comes_back_for_a_person_and_nothing_of_it_is_queued(old: Machine, filled: Recording, new: Machine) -> None:
    filled.decided(content=b"Subject: large\r\n\r\n" + b"x" * 300_000)  # not sealed when the power went: its client heard no 250
    lose_the_store(old, new)
    said = new.said("rebuild", *WORDS)
    assert (said["objects"], said["rebuilt"], said["recipients"], said["problems"]) == (3, 2, 3, [])
    assert len(said["unsealed"]) == 1
    before = [row for row in filled.rows("message") if row["spool_object"]]
    with recording_on(new.database.relay, new.folder) as there:
        assert [same(row) for row in there.rows("message")] == [same(row) for row in before]
        deliveries = there.rows("delivery")
        assert [row["recipient"] for row in deliveries] == [row["recipient"] for row in filled.rows("delivery")][:3]
        assert {row["state"] for row in deliveries} == {"quarantined"}
        assert {row["possible_duplicates"] for row in deliveries} == {1}
        assert "it was ready when it was accepted" in deliveries[0]["because"]
        assert "it was quarantined when it was accepted (quarantine by quarantine-rule)" in deliveries[2]["because"]
        assert there.rows("queue") == []
        found = there.reader.read_now(phase_state.read)
        assert found.brake
        assert "rebuilt from the spool" in found.brake_reason
        assert there.reader.read_now(balance).holds
        kinds = [row["kind"] for row in there.rows("event")]
        assert sorted(kinds) == ["brake", "rebuilt", "rebuilt", "rebuilt"]
        told = [json.loads(row["canonical"]) for row in there.rows("event_record") if row["message_id"] is not None]
        assert {value["details"]["commitment"] for value in told} == {row["commitment"] for row in before}


def test_what_the_store_knows_stays_as_it_is(old: Machine, filled: Recording) -> None:
    before = filled.rows("delivery")
    said = old.said("rebuild", *WORDS)
    assert (said["known"], said["rebuilt"]) == (2, 0)
    assert filled.rows("delivery") == before
    assert not filled.reader.read_now(phase_state.read).brake


def test_after_a_restore_only_what_came_later_is_rebuilt(old: Machine, filled: Recording, new: Machine, tmp_path: Path) -> None:
    old.said("backup", str(tmp_path / "backups"), *WORDS)
    later = filled.accept(State.HELD)
    bring_keys(old, new)
    shutil.copytree(old.folder / "spool", new.folder / "spool")
    new.said("restore", str(tmp_path / "backups"), *WORDS)
    said = new.said("rebuild", *WORDS)
    assert (said["known"], said["rebuilt"]) == (2, 1)
    with recording_on(new.database.relay, new.folder) as there:
        assert there.rows("message")[-1]["id"] == later.decided.inspected.received.id
        assert [row["state"] for row in there.rows("delivery")] == ["ready", "held", "quarantined", "refused", "quarantined"]
        assert there.reader.read_now(balance).holds


def test_a_second_run_finds_nothing_more(old: Machine, filled: Recording, new: Machine) -> None:
    lose_the_store(old, new)
    new.said("rebuild", *WORDS)
    assert new.said("rebuild", *WORDS)["rebuilt"] == 0


def test_a_dry_run_changes_nothing(old: Machine, filled: Recording, new: Machine) -> None:
    lose_the_store(old, new)
    assert new.said("rebuild", "--dry-run", *WORDS)["rebuilt"] == 2
    with recording_on(new.database.relay, new.folder) as there:
        assert there.rows("message") == there.rows("event") == []


def test_an_altered_body_is_told_and_the_others_come_back(old: Machine, filled: Recording, new: Machine) -> None:
    lose_the_store(old, new)
    name = filled.rows("message")[0]["spool_object"]
    path = new.folder / "spool" / name[:6] / name
    data = bytearray(path.read_bytes())
    data[BODY_START] ^= 1
    path.write_bytes(data)
    said = new.said("rebuild", *WORDS, code=1)
    assert said["rebuilt"] == 1
    assert name in said["problems"][0]
    assert path.exists(), "nothing is thrown away"


def test_without_the_private_key_nothing_is_rebuilt(old: Machine, filled: Recording, new: Machine) -> None:
    lose_the_store(old, new)
    shutil.rmtree(new.folder / "keys")
    shutil.copytree(old.folder / "keys", new.folder / "keys")
    settings = new.folder / "sluis.toml"
    settings.write_text(settings.read_text().replace('private_keys = "keys/spool"\n', ""))
    result = new.run("rebuild", *WORDS)
    assert result.exit_code == 1
    assert "private" in result.output


def test_who_was_vouched_for_is_known_from_the_manifest(old: Machine, filled: Recording) -> None:
    rebuilt = read_object(filled.spool, filled.rows("message")[0]["spool_object"])
    assert (rebuilt.message["vouched"], rebuilt.message["authorised"]) == (True, True)
    assert rebuilt.message["direction"] == ("inbound" if Side(rebuilt.message["peer"]["side"]) is Side.OUTSIDE else "outbound")


def test_bodies_of_a_pack_come_back_under_their_names(old: Machine, filled: Recording, new: Machine) -> None:
    filled.accept_together(b"one", b"two", b"three")
    lose_the_store(old, new)
    said = new.said("rebuild", *WORDS)
    assert (said["objects"], said["rebuilt"], said["problems"]) == (5, 5, [])
    before = [row for row in filled.rows("message") if row["spool_object"]]
    assert sum("/" in row["spool_object"] for row in before) == 3
    with recording_on(new.database.relay, new.folder) as there:
        assert [same(row) for row in there.rows("message")] == [same(row) for row in before]
    assert new.run("check", "--bodies").exit_code == 0


def test_a_damaged_pack_is_told_and_no_body_of_it_is_called_unsealed(old: Machine, filled: Recording, new: Machine) -> None:
    """Each of its messages may have heard 250: a pack has its name when it is whole."""
    filled.accept_together(b"one", b"two", b"three")
    lose_the_store(old, new)
    (pack,) = (new.folder / "spool").glob("*/*.pack")
    whole = pack.read_bytes()
    for damaged, left, why in ((whole[:-1], 4, "cut short"), (whole[:60], 2, f"pack {pack.stem}: its index is altered or cut short")):
        pack.write_bytes(damaged)
        said = new.said("rebuild", "--dry-run", *WORDS, code=1)
        assert (said["rebuilt"], said["unsealed"]) == (left, [])
        (problem,) = said["problems"]
        assert why in problem
