"""What is remembered of a part by its octets never hides what it is under another name, and never what it holds."""

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine, Inspected
from relay.inspect.inner_message import InnerMessage
from relay.inspect.item import Item
from tests.stages.inspect.samples import zipped

LETTER = b"Version: 1\r\n"


def inspected(engine: Engine, data: bytes, name: str = "", declared: str = "text/plain", path: str = "1") -> Inspected:
    return engine.inspect([Item(path, name, declared, True, data)])


def test_the_same_octets_under_another_name_type_or_path_are_looked_into_anew() -> None:
    engine = Engine([], ArchiveLimits())
    for _ in range(2):
        assert not inspected(engine, LETTER).findings
    assert [finding.name for finding in inspected(engine, LETTER, declared="application/pgp-encrypted").findings] == ["encrypted-pgp"]
    manifest = b"<manifest:encryption-data/>"
    assert not inspected(engine, manifest).findings
    assert [finding.name for finding in inspected(engine, manifest, path="1/META-INF/manifest.xml").findings] == ["encrypted-odf"]
    locked = b"1 0 obj <</Encrypt 2 0 R>>"
    assert not inspected(engine, locked).findings
    assert "encrypted-pdf" in [finding.name for finding in inspected(engine, locked, name="a.pdf").findings]


def test_a_part_that_holds_nothing_is_looked_into_once() -> None:
    looked: list[Item] = []

    def reader(item: Item) -> InnerMessage | None:
        looked.append(item)
        return None

    engine = Engine([], ArchiveLimits(), reader)
    first, second = (inspected(engine, LETTER, "a.txt") for _ in range(2))
    assert (first.attachments, first.findings, len(looked)) == (second.attachments, second.findings, 1)


def test_what_holds_something_is_opened_each_time_at_the_expense_of_its_message() -> None:
    engine = Engine([], ArchiveLimits(members=1))
    archive = zipped({"a.txt": LETTER})
    for _ in range(2):
        assert inspected(engine, archive, "a.zip").attachments[0].members == ("a.txt",)
    twice = [Item(path, "a.zip", "application/zip", False, archive) for path in ("1", "2")]
    assert "archive-members" in [finding.name for finding in engine.inspect(twice).findings]


def test_what_was_said_of_a_part_is_said_each_time() -> None:
    engine = Engine([], ArchiveLimits())
    damaged = zipped({"a.txt": LETTER * 100})[:-30]
    first, second = (inspected(engine, damaged, "a.zip") for _ in range(2))
    assert first.findings == second.findings != []
