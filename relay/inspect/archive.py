"""Archives: what is in them, under limits, and what can't be looked into. Whatever reading applies is made: a file that is two archives
at once shows one of them to one tool and the other to another.
"""

from collections.abc import Callable

from relay.inspect import cms, openpgp
from relay.inspect.compressed import compressed_form, read_compressed
from relay.inspect.item import Item, Sign
from relay.inspect.opening import NAME, ArchiveLimits, Budget, LimitMet, Opened
from relay.inspect.tar_archive import read_tar, where_tar_begins
from relay.inspect.unreadable import unreadable_forms
from relay.inspect.zip_archive import read_zip, zip_extent
from relay.model.finding import Kind

__all__ = ["NAME", "ArchiveLimits", "Budget", "Opened", "open_archive"]


def open_archive(item: Item, budget: Budget, depth: int) -> Opened:
    """`depth` is 1 for what lies in the message itself. Never raises on what an archive holds."""
    opened = Opened(item)
    forms: list[str] = []
    tar = where_tar_begins(item.data, Sign.TAR in item.signs)
    if tar is not None:
        forms.append("tar")
        _within_limits(lambda: read_tar(opened, tar, budget), opened, budget, depth)
    compressed = compressed_form(item.data)
    if compressed is not None:
        forms.append(compressed)
        _within_limits(lambda: read_compressed(opened, compressed, budget), opened, budget, depth)
    extent = zip_extent(item.data, Sign.ZIP_END in item.signs)
    if extent is not None and not opened.holds(*extent):
        forms.append("zip")
        _within_limits(lambda: read_zip(opened, budget), opened, budget, depth)
    if cms.is_container(item.data, Sign.PEM in item.signs):
        forms.append("cms")
        _within_limits(lambda: cms.read_cms(opened, budget), opened, budget, depth)
    unreadable = unreadable_forms(item, opened.holds)
    if openpgp.is_packed(item.data):
        unreadable.append("openpgp")
    for form in unreadable:
        opened.find(Kind.LIMIT, "archive-unreadable", form)
    if len(forms) + len(unreadable) > 1:
        opened.ambiguous("archive-two-formats", ", ".join([*forms, *unreadable]))
    return opened


def _within_limits(read: Callable[[], None], opened: Opened, budget: Budget, depth: int) -> None:
    try:
        budget.nested(depth)
        read()
    except LimitMet as met:
        opened.find(Kind.LIMIT, str(met.args[0]))
