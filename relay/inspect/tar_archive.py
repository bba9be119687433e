"""tar: read to its end, and where something stands behind that, read on as some tools do."""

import io
import tarfile

from relay.inspect.opening import Budget, Opened, joined

BLOCK = 512
MAGIC = b"ustar"
_MAGIC_AT = 257
_DAMAGED = (tarfile.TarError, EOFError, OSError, ValueError, IndexError, KeyError, RecursionError)
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)


def where_tar_begins(data: bytes, magic: bool = True) -> int | None:
    """The octet of the first whole header that stands where tools look for one (they skip blocks that are none). Without `magic` anywhere
    there is none but at the beginning, of a tar that is older than it."""
    if _is_header(data[:BLOCK]):
        return 0
    if not magic:
        return None
    position = -1
    while (position := data.find(MAGIC, position + 1)) >= 0:
        start = position - _MAGIC_AT
        if start >= 0 and start % BLOCK == 0 and _is_header(data[start : start + BLOCK]):
            return start
    return None


def _is_header(block: bytes) -> bool:
    if len(block) < BLOCK or not block[0]:
        return False
    try:
        stated = tarfile.nti(block[_CHECKSUM])  # type: ignore[attr-defined]
    except tarfile.HeaderError:
        return False
    return stated in tarfile.calc_chksums(block)  # type: ignore[attr-defined]


def read_tar(opened: Opened, start: int, budget: Budget) -> None:
    """Raises LimitMet. What was read before an error is kept."""
    data = opened.item.data
    if start:
        opened.ambiguous("archive-leading-data")
    end = _members(opened, start, budget, strict=True)
    if data[end:].strip(b"\0"):  # a damaged header, or another archive: some tools read on
        opened.ambiguous("archive-trailing-data")
        _members(opened, end, budget, strict=False)


def _members(opened: Opened, start: int, budget: Budget, *, strict: bool) -> int:
    """Where reading ended."""
    data = opened.item.data
    source = io.BytesIO(data)
    source.seek(start)
    end = start
    try:
        with tarfile.open(fileobj=source, mode="r:", ignore_zeros=not strict) as archive:
            for member in archive:
                budget.member()
                opened.name(member.name)
                _content(opened, archive, member, budget)
                end = archive.offset
            return archive.offset
    except _DAMAGED as error:
        if strict:
            opened.ambiguous("archive-damaged", type(error).__name__)
        return end


def _content(opened: Opened, archive: tarfile.TarFile, member: tarfile.TarInfo, budget: Budget) -> None:
    data = opened.item.data
    header = data[member.offset_data - BLOCK : member.offset_data]
    if member.isreg() and not member.issparse():
        opened.store(member.offset_data, member.offset_data + member.size)
        if _is_header(header):
            _compare(opened, member, header)
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        return
    pieces: list[bytes] = []
    try:
        # Against the archive, and not the member: a sparse one is larger than what it takes.
        budget.read_into(pieces, stream, len(data))
    finally:
        opened.add(member.name, joined(pieces))


def _compare(opened: Opened, member: tarfile.TarInfo, header: bytes) -> None:
    """An extended header (pax, or GNU's for long names) may say something else than the header itself, which some tools go by."""
    size = tarfile.nti(header[_SIZE])  # type: ignore[attr-defined]
    if size != member.size:
        opened.ambiguous("archive-headers-differ", member.name)
    name = tarfile.nts(header[_NAME], "utf-8", "surrogateescape")  # type: ignore[attr-defined]
    if name and not member.name.endswith(name.rstrip("/")):
        opened.name(name)
