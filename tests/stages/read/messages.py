"""Well-formed messages of every shape, with the parts that they are made of."""

import base64
from dataclasses import dataclass

from hypothesis import strategies as st

TOP = (
    b"From: jan@example.nl\r\nTo: piet@partner.example\r\nSubject: Hoi\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <1@example.nl>\r\nMIME-Version: 1.0\r\n"
)
BOUNDARY = st.text("abcXYZ019'()+_,-./:=? ", min_size=1, max_size=20).filter(lambda text: not text.endswith(" "))
NAME = st.text(st.sampled_from("abc XYZ0159.-_()éëüß漢"), min_size=1, max_size=20).map(str.strip).filter(lambda name: len(name) > 1)
LINES = st.lists(st.text(st.sampled_from("abc .-=_,€é\t"), max_size=30).map(str.rstrip), max_size=6).map("\r\n".join)
TYPES = ("application/octet-stream", "application/pdf", "image/png", "text/plain", "text/html", "text/csv")
CHARSETS = ("", "; charset=utf-8", '; charset="UTF-8"', "; Charset=us-ascii", ";\r\n charset=iso-8859-1")


@dataclass(frozen=True)
class Part:
    """An entity as bytes (header, empty line, body) and what it holds: (media type, name, decoded bytes) of its leaves, in order."""

    raw: bytes
    leaves: tuple[tuple[str, str, bytes], ...]


def _percent(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


def _named(name: str, way: str) -> tuple[str, str]:
    """Parameters of Content-Type and Content-Disposition that give the name."""
    utf8 = name.encode()
    word = f"=?utf-8?B?{base64.b64encode(utf8).decode()}?="
    return {
        "both": (f'; name="{name}"', f'; filename="{name}"'),
        "type": (f';\r\n name="{name}"', ""),
        "extended": ("", f"; filename*=utf-8''{_percent(name)}"),
        "pieces": ("", f";\r\n filename*0*=UTF-8''{_percent(name[:1])};\r\n filename*1*={_percent(name[1:])}"),
        "word": (f'; name="{word}"', f'; filename="{word}"'),
        "words": (f'; name="{word} {word}"', f';\r\n filename="{word}\r\n {word}"'),
    }[way]


@st.composite
def leaves(draw: st.DrawFn) -> Part:
    """Text or an attachment in any of the five encodings."""
    media_type = draw(st.sampled_from(TYPES))
    encoding = draw(st.sampled_from(("", "7bit", "8bit", "Quoted-Printable", "base64", "BASE64")))
    if encoding.lower() in ("base64", "quoted-printable") and not media_type.startswith("text/"):
        data = draw(st.binary(max_size=200))
    else:
        data = draw(LINES).encode()
        if encoding in ("", "7bit"):
            data = data.decode().encode("ascii", "replace")
    encoded = {"base64": _base64, "quoted-printable": _quoted_printable}.get(encoding.lower(), lambda plain: plain)(data)
    in_type = in_disposition = name = ""
    if draw(st.booleans()):
        name = draw(NAME)
        way = draw(st.sampled_from(("both", "type", "extended", "pieces", "word", "words")))
        in_type, in_disposition = _named(name, way)
        name = name * 2 if way == "words" else name
    charset = draw(st.sampled_from(CHARSETS)) if media_type.startswith("text/") else ""
    header = f"Content-Type: {media_type}{charset}{in_type}\r\n"
    if encoding:
        header += f"Content-Transfer-Encoding: {encoding}\r\n"
    if in_disposition or draw(st.booleans()):
        header += f"Content-Disposition: {draw(st.sampled_from(('attachment', 'inline')))}{in_disposition}\r\n"
    return Part(header.encode() + b"\r\n" + encoded, ((media_type, name, data),))


@st.composite
def multiparts(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Part:
    """One to four parts with or without preamble and epilogue."""
    parts = draw(st.lists(inner, min_size=1, max_size=4))
    whole = b"".join(part.raw for part in parts)
    # Unlike any inside: a boundary that begins like another, and a line that begins like a delimiter, is ambiguous.
    boundary = f"{len(whole)}-{draw(BOUNDARY)}"
    subtype = draw(st.sampled_from(("mixed", "alternative", "related", "x-unknown")))
    around = st.sampled_from((b"", b"This is a message in MIME format."))
    preamble, epilogue = draw(around), draw(around)
    delimiter = b"--" + boundary.encode()
    raw = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode() + (preamble + b"\r\n" if preamble else b"")
    raw += b"".join(delimiter + b"\r\n" + part.raw + b"\r\n" for part in parts) + delimiter + b"--\r\n" + epilogue
    return Part(raw, tuple(leaf for part in parts for leaf in part.leaves))


def attached(inner: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    """A message in the message."""
    header = b"Content-Type: message/rfc822\r\n\r\nFrom: x@y.example\r\nSubject: inner\r\n"
    return inner.map(lambda part: Part(header + part.raw, part.leaves))


def messages() -> st.SearchStrategy[Part]:
    """Whole messages."""
    nested = st.recursive(leaves(), lambda inner: st.one_of(multiparts(inner), attached(inner)), max_leaves=6)
    return nested.map(lambda part: Part(TOP + part.raw, part.leaves))


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _quoted_printable(data: bytes) -> bytes:
    """Every octet that is no letter or digit as an escape, in short lines."""
    escaped = [bytes([octet]) if bytes([octet]).isalnum() else b"=%02X" % octet for octet in data]
    return b"=\r\n".join(b"".join(escaped[start : start + 20]) for start in range(0, len(escaped), 20))
