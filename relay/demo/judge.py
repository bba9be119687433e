"""The judge: compares what arrived outside and what the store holds with what was sent, by digest. It reads no log of ours."""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from relay.demo.script import DELIVERED, REFUSED, Scene
from relay.demo.verify import verify
from relay.sign.dns_record import record_name, record_text
from relay.sign.new_key import existing_keys

UNFINISHED = frozenset({"ready", "undecided"})


@dataclass(frozen=True, slots=True)
class End:
    """What became of one recipient: `found` is its state, `because` the reason in the store; `fault` is empty where all is well."""

    recipient: str
    found: str
    because: str
    fault: str


class Judge:
    """`database` is opened read-only, `outside` is the folder of the outside server, `keys` that of the DKIM keys."""

    def __init__(self, database: Path, outside: Path, keys: Path) -> None:
        self._database = database
        self._keys = keys
        self._outside = outside

    def unfinished(self) -> int:
        """How many recipients are still on their way."""
        marks = ", ".join("?" * len(UNFINISHED))
        return int(self._query(f"SELECT count(*) FROM delivery WHERE state IN ({marks})", *UNFINISHED)[0][0])  # noqa: S608 - marks only

    def ends(self, scene: Scene) -> list[End]:
        """One for each recipient."""
        return [self._end(scene, recipient, expected) for recipient, expected in scene.ends.items()]

    def _end(self, scene: Scene, recipient: str, expected: str) -> End:
        raw = scene.raw
        arrived = self._arrived(raw, recipient)
        if scene.at_mail:
            rows = self._query("SELECT canonical FROM event_record")
            told = [json.loads(row[0]) for row in rows if row[0]]
            found = [event for event in told if event["kind"] == "refused" and scene.source in event["origin"]]
            because = found[0]["reason"] if found else ""
            return End(recipient, REFUSED if found else "nowhere", because, _fault(bool(found) and not arrived, "no event, or it arrived"))
        rows = self._query(
            "SELECT d.state, d.because, d.recipient, m.spool_object FROM delivery d JOIN message m ON m.id = d.message_id"
            " WHERE m.digest = ?",
            hashlib.sha256(raw).hexdigest(),
        )
        rows = [row for row in rows if _same(row[2], recipient)]
        if len(rows) != 1:
            return End(recipient, "nowhere", "", f"the store holds it {len(rows)} times")
        state, because, _, spool_object = rows[0]
        if state != expected:
            return End(recipient, state, because, f"it must be {expected}")
        if arrived != (1 if expected == DELIVERED else 0):
            return End(recipient, state, because, f"outside it arrived {arrived} times")
        return End(
            recipient, state, because, _fault((spool_object is None) == (expected == REFUSED), "its body is kept, or not kept, wrongly")
        )

    def _arrived(self, raw: bytes, recipient: str) -> int:
        """How often these very bytes, behind whatever prefix, arrived for this recipient."""
        count = 0
        for path in sorted(self._outside.glob("*.json")):
            envelope = json.loads(path.read_text())
            content = path.with_suffix(".eml").read_bytes()
            same = hashlib.sha256(content[-len(raw) :]).digest() == hashlib.sha256(raw).digest()
            count += same and any(_same(address, recipient) for address in envelope["recipients"])
        return count

    def signing_fault(self, scene: Scene) -> str:
        """Empty where what arrived bears one signature of each algorithm, and verifies by the keys that DNS would have; also where
        nothing had to arrive."""
        raw = scene.raw
        if DELIVERED not in scene.ends.values():
            return ""
        found = [content for path in sorted(self._outside.glob("*.eml")) if (content := path.read_bytes()).endswith(raw)]
        records = {record_name(domain, selector): record_text(key) for domain, selector, key in existing_keys(self._keys)}
        signed = bool(found) and all(self._holds(content, records) for content in found)
        return _fault(signed, "it is not DKIM-signed as it must be")

    def _holds(self, content: bytes, records: dict[str, str]) -> bool:
        answers = verify(content, {name: text.encode() for name, text in records.items()})
        return set(answers) == set(records) and all(answers.values())

    def _query(self, sql: str, *values: str) -> list[tuple[str, ...]]:
        with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30) as connection:
            rows = connection.execute(sql, values).fetchall()
        connection.close()
        return rows


def _fault(right: bool, otherwise: str) -> str:
    return "" if right else otherwise


def _same(one: str, other: str) -> bool:
    """The store keeps domains as A-labels; the outside server as they came."""
    return _folded(one) == _folded(other)


def _folded(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local.casefold()}@{domain.encode('idna').decode()}"
