"""A name that is too long to keep whole keeps its end, which says what kind of file it is; no member of an archive goes unnamed."""

import io
import zipfile

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine
from relay.inspect.item import Item
from relay.model.text import file_name


def _zip(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return packed.getvalue()


def test_a_long_name_keeps_its_extension() -> None:
    for name in ("a" * 300 + ".exe", "a" * 5000 + ".exe"):
        assert file_name(name).endswith(".exe")
        assert len(file_name(name)) <= 251
    inspected = Engine([], ArchiveLimits()).inspect([Item("1", "b" * 400 + ".js", "text/plain", False, b"x")])
    assert inspected.attachments[0].name.endswith(".js")


def test_a_long_name_inside_an_archive_keeps_its_extension() -> None:
    data = _zip("c" * 400 + ".exe")
    inspected = Engine([], ArchiveLimits()).inspect([Item("1", "a.zip", "application/zip", False, data)])
    assert any(name.endswith(".exe") for name in inspected.attachments[0].members)


def test_the_last_of_many_members_is_named_too() -> None:
    data = _zip(*(f"{number}.txt" for number in range(1500)), "last.exe")
    inspected = Engine([], ArchiveLimits()).inspect([Item("1", "a.zip", "application/zip", False, data)])
    assert "last.exe" in inspected.attachments[0].members
