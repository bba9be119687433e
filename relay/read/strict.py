"""The strict reader: just the well-formed subset of MIME in which every reader there is agrees, with byte offsets.

Every byte of the message belongs to a header, a body, a delimiter, a preamble or an epilogue (RFC 2046 §5.1.1). What falls outside
raises Ambiguous.
"""

import itertools
import re

from relay.model.line_ends import only_crlf
from relay.read import charsets
from relay.read.ambiguity import Ambiguous
from relay.read.decode import ENCODED, IDENTITY, decode_body
from relay.read.header import header_end, one, strict_fields
from relay.read.limits import LimitReached, ReadLimits
from relay.read.part import HeaderField, Leaf, Reading, Role, Span
from relay.read.structured import Structured, file_name, parse_content_type, parse_disposition

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 §5.1.1
_MIME_FIELD = re.compile(rb"^content-(?:type|transfer-encoding)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_UUENCODED = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} [^\r\n]", re.MULTILINE)
# RFC 3464, RFC 8098, RFC 6533, RFC 5965
_REPORTS = frozenset(
    f"message/{name}"
    for name in (
        "delivery-status",
        "disposition-notification",
        "global-delivery-status",
        "global-disposition-notification",
        "global-headers",
        "feedback-report",
    )
)
_TEXT = Structured("text/plain", {})
_MESSAGE = Structured("message/rfc822", {})


class StrictReader:
    """Reads one message. Raises Ambiguous or LimitReached."""

    def __init__(self, data: bytes, limits: ReadLimits) -> None:
        self._data = data
        self._limits = limits
        self._leaves: list[Leaf] = []
        self._spans: list[Span] = []
        self._parts = 0

    def read(self) -> Reading:
        """The whole message."""
        if not only_crlf(self._data):  # some readers end a line at each CR and each LF
            raise Ambiguous("line-ends")
        fields = self._entity(0, len(self._data), "", 0, _TEXT, ())
        return Reading(fields, self._leaves, self._spans)

    def _entity(self, start: int, end: int, path: str, depth: int, default: Structured, boundaries: tuple[bytes, ...]) -> list[HeaderField]:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise LimitReached("parts")
        if depth > self._limits.depth:
            raise LimitReached("depth")
        fields_end, body_start = header_end(self._data, start, end, self._limits.header_size, path)
        fields = strict_fields(self._data, start, fields_end, path)
        self._span(start, body_start, Role.HEADER, path)
        version = one(fields, "mime-version")
        if version is not None and version.value.strip(b" \t") != b"1.0":
            raise Ambiguous("mime-version-unknown", path)
        declared = one(fields, "content-type")
        content_type = parse_content_type(declared.folded, path) if declared else default
        encoding = _encoding(fields, path)
        main, _, subtype = content_type.value.partition("/")
        if main in ("multipart", "message") and subtype != "delivery-status" and encoding not in IDENTITY:
            # RFC 2045 §6.4; message/delivery-status and its kin are text to every reader
            raise Ambiguous("transfer-encoding-on-container", path)
        if content_type.value in ("message/external-body", "message/partial"):
            raise Ambiguous("external-body", path)
        if main == "message" and content_type.value != "message/rfc822":
            self._report(content_type, body_start, end, path)
        if main == "multipart":
            self._multipart(content_type, body_start, end, path, depth, boundaries)
        elif content_type.value == "message/rfc822":
            self._entity(body_start, end, f"{path}.message".lstrip("."), depth + 1, _TEXT, boundaries)
        else:
            self._leaf(fields, content_type, encoding, body_start, end, path)
        return fields

    def _report(self, content_type: Structured, start: int, end: int, path: str) -> None:
        """Fields and nothing else, which some readers show as text and others as a message; so it must not be able to have content."""
        if content_type.value not in _REPORTS or _MIME_FIELD.search(self._data, start, end):
            raise Ambiguous("message-type", path)

    def _leaf(self, fields: list[HeaderField], content_type: Structured, encoding: str, start: int, end: int, path: str) -> None:
        shown = one(fields, "content-disposition")
        disposition = parse_disposition(shown.folded, path) if shown else None
        charset = content_type.parameters.get("charset")
        if charset is not None and content_type.value.startswith("text/") and not charsets.known(charset):
            raise Ambiguous("charset-unknown", path)
        self._span(start, end, Role.BODY, path)
        data = decode_body(self._data, start, end, encoding, path)
        if content_type.value == "text/plain" and _UUENCODED.search(data):
            raise Ambiguous("uuencoded", path)
        self._leaves.append(
            Leaf(
                path=path or "1",
                media_type=content_type.value,
                name=file_name(content_type, disposition, path),
                inline=disposition is None or disposition.value == "inline",
                data=data,
            )
        )

    def _multipart(self, content_type: Structured, start: int, end: int, path: str, depth: int, outer: tuple[bytes, ...]) -> None:
        text = content_type.parameters.get("boundary")
        if not text:
            raise Ambiguous("boundary-missing", path)
        if not _BOUNDARY.fullmatch(text):
            raise Ambiguous("boundary-unsound", path)
        boundary = text.encode("ascii")
        # One that begins like another is told apart by some readers and not by others.
        if any(boundary.startswith(other) or other.startswith(boundary) for other in outer):
            raise Ambiguous("boundary-nested", path)
        delimiters = self._delimiters(b"--" + boundary, start, end, path)
        default = _MESSAGE if content_type.value == "multipart/digest" else _TEXT
        first_line = delimiters[0][0]
        self._around(start, first_line, Role.PREAMBLE, path)
        for index, ((line, after), (next_line, _)) in enumerate(itertools.pairwise(delimiters), 1):
            self._span(line, after, Role.DELIMITER, path)
            child = f"{path}.{index}".lstrip(".")
            if next_line < after:  # the CRLF in front of a delimiter belongs to it, and here it is that of the last one
                raise Ambiguous("header-unterminated", child)
            self._entity(after, next_line, child, depth + 1, default, (*outer, boundary))
        close_line, close_next = delimiters[-1]
        self._span(close_line, close_next, Role.DELIMITER, path)
        self._around(close_next, end, Role.EPILOGUE, path)

    def _delimiters(self, dash_boundary: bytes, start: int, end: int, path: str) -> list[tuple[int, int]]:
        """(where the delimiter with its leading CRLF begins, where the next part begins), the closing one last. Raises Ambiguous."""
        data, found, closed = self._data, [], False
        position = start
        while (position := data.find(dash_boundary, position, end)) >= 0:
            at_line_start = position == start or data[position - 2 : position] == b"\r\n"
            after = position + len(dash_boundary)
            if at_line_start:
                if closed:
                    raise Ambiguous("boundary-look-alike", path)
                line = position if position == start else position - 2
                if data.startswith(b"\r\n", after, end):
                    found.append((line, after + 2))
                elif data.startswith(b"--\r\n", after, end) or data[after:end] == b"--":
                    found.append((line, min(after + 4, end)))
                    closed = True
                else:
                    raise Ambiguous("boundary-look-alike", path)
            position = after
        if not found or (closed and len(found) == 1):
            raise Ambiguous("boundary-missing", path)
        if not closed:
            raise Ambiguous("boundary-unclosed", path)
        return found

    def _around(self, start: int, end: int, role: Role, path: str) -> None:
        """Preamble and epilogue are shown to nobody, and inspected all the same."""
        if start >= end:
            return
        self._span(start, end, role, path)
        data = self._data[start:end]
        if data.strip():
            self._leaves.append(Leaf(f"{path}.{role.value}".lstrip("."), "text/plain", "", True, data))

    def _span(self, start: int, end: int, role: Role, path: str) -> None:
        if end > start:
            self._spans.append(Span(start, end, role, path))


def _encoding(fields: list[HeaderField], path: str) -> str:
    found = one(fields, "content-transfer-encoding")
    if found is None:
        return "7bit"
    # Folded, or with white space behind it, some readers don't know it any more.
    encoding = found.folded.lstrip(b" \t").decode("ascii", "replace").lower()
    if encoding not in IDENTITY and encoding not in ENCODED:
        raise Ambiguous("transfer-encoding-unknown", path)
    return encoding


def read_strictly(data: bytes, limits: ReadLimits) -> Reading:
    """Raises Ambiguous or LimitReached."""
    return StrictReader(data, limits).read()
