"""The true type of a part (libmagic, through python-magic) against what it says it is. The only place that knows python-magic."""

from collections.abc import Iterable

import magic

from relay.inspect.item import Item
from relay.inspect.remembered import Remembered
from relay.model.finding import Finding, Kind

HEAD = 64 * 1024  # libmagic looks at the beginning; more costs and finds nothing
TEXT_HEAD = 1024  # the same for text: a program says so in its first line
# magic.h: what is asked for (MAGIC_MIME_TYPE, MAGIC_MIME_ENCODING), MAGIC_CONTINUE behind what fits, and MAGIC_NO_CHECK_
_TYPE, _ENCODING, _CONTINUE, _NO_TEXT = 0x000010, 0x000400, 0x000020, 0x020000
_NOTHING_ELSE = 0x001000 | 0x002000 | 0x004000 | 0x008000 | 0x010000 | _NO_TEXT | 0x040000 | 0x080000 | 0x100000 | 0x400000 | 0x800000
UNKNOWN = "application/octet-stream"
# Most of what is sent begins with one of these, and libmagic finds it in a tenth of the time that all of its tests take.
_USUAL = (b"%PDF-", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"PK\3\4", b"\xd0\xcf\x11\xe0", b"RIFF")

EXECUTABLE = frozenset(
    {
        "application/x-dosexec",
        "application/vnd.microsoft.portable-executable",
        "application/x-executable",
        "application/x-pie-executable",
        "application/x-sharedlib",
        "application/x-mach-binary",
        "application/x-msi",
        "application/x-ms-shortcut",
        "application/java-archive",
        "text/x-shellscript",
        "text/x-msdos-batch",
    }
)

# What a type may turn out to be without a word: containers, and text that libmagic takes for code.
_ZIP = frozenset({"application/zip", "application/x-zip", "application/x-zip-compressed"})
_OFFICE_ZIP_PREFIXES = ("application/vnd.openxmlformats", "application/vnd.oasis.opendocument", "application/epub", "application/java")
_CFB = frozenset(
    {"application/x-ole-storage", "application/cdfv2", "application/vnd.ms-office", "application/msword", "application/vnd.ms-excel"}
)
_BY_EXTENSION = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "zip": "application/zip",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_CHECKED = ("application/pdf", "image/png", "image/jpeg", "image/gif", "image/tiff", "image/bmp", "audio/", "video/")
_OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


class TypeInspector:
    """One `magic.Magic`, whose tables take some MB, for one thread: it is told with each look what to look for."""

    name = "type"

    def __init__(self) -> None:
        self._magic = magic.Magic(mime=True)
        self._known: Remembered[str] = Remembered()

    def begin(self) -> None:
        """Keeps nothing from one message to the next."""

    def version(self) -> str:
        return f"libmagic {magic.version()}"  # type: ignore[no-untyped-call]

    def true_type(self, data: bytes, digest: bytes = b"") -> str:
        """A media type in lower case; empty data is `application/x-empty`. What it said of a digest is kept for a while: the same letter
        head, signature or attachment comes again and again."""
        known = self._known.get(digest)
        return known if known is not None else self._known.put(digest, self._look(data))

    def _look(self, data: bytes) -> str:
        """First for all that is no text; the tests for text cost five times as much, and tell what they can from the first lines."""
        if not data.startswith(_USUAL) and self._fits_nothing(data):
            return UNKNOWN
        found = self._asked(_TYPE | _NO_TEXT, data[:HEAD])
        return found if found != UNKNOWN else self._asked(_TYPE, data[:TEXT_HEAD])

    def _fits_nothing(self, data: bytes) -> bool:
        """Whether no test at all that knows a media type fits, and the first lines are no text: then none fits these alone either, and all
        that would be asked twice is asked once. The ordinary look ends with the first test that fits, and some of these know no type."""
        return not self._may_be_text(data[:TEXT_HEAD]) and self._asked(_TYPE | _NO_TEXT | _CONTINUE, data[:HEAD]) == UNKNOWN

    def _may_be_text(self, head: bytes) -> bool:
        """libmagic's own word; NULs at the end are left out of its tests for text, and not of this one."""
        return head.endswith(b"\0") or self._asked(_ENCODING | _NOTHING_ELSE, head) != "binary"

    def _asked(self, flags: int, data: bytes) -> str:
        magic.magic_setflags(self._magic.cookie, flags)
        return str(self._magic.from_buffer(data)).lower()

    def inspect(self, item: Item) -> Iterable[Finding]:
        """Of what has neither name nor type nobody makes a file: that was dug out for the scanners."""
        if not item.name and not item.declared:
            return
        if item.true_type in EXECUTABLE:
            yield Finding(Kind.TYPE, self.name, "executable", item.path, item.true_type)
        if _mismatch(item.declared, item.true_type):
            yield Finding(Kind.TYPE, self.name, "type-mismatch", item.path, f"says {item.declared}, is {item.true_type}")
        extension = item.name.rpartition(".")[2].lower() if "." in item.name else ""
        expected = _BY_EXTENSION.get(extension)
        if expected and _mismatch(expected, item.true_type):
            yield Finding(Kind.TYPE, self.name, "extension-mismatch", item.path, f".{extension} is {item.true_type}")
        if any(char in _OVERRIDES for char in item.name):
            yield Finding(Kind.TYPE, self.name, "deceptive-name", item.path, "the name has characters that turn the reading direction")


def _mismatch(declared: str, true_type: str) -> bool:
    """Only for types that libmagic knows surely: a PDF that is a program, a picture that is an archive."""
    if true_type in ("application/x-empty", "inode/x-empty", "") or declared == true_type:
        return False
    if declared.startswith(_OFFICE_ZIP_PREFIXES):
        return not (
            true_type in _ZIP or true_type.startswith(_OFFICE_ZIP_PREFIXES) or true_type in _CFB or true_type == "application/octet-stream"
        )
    if declared in _ZIP:
        return not (true_type in _ZIP or true_type.startswith(_OFFICE_ZIP_PREFIXES))
    if declared.startswith("text/"):
        return true_type in EXECUTABLE and not true_type.startswith("text/")
    if declared.startswith(_CHECKED):
        return declared.partition("/")[0] != true_type.partition("/")[0] or declared == "application/pdf"
    return False
