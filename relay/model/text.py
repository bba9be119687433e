"""Text from the outside made fit for logs, headers and terminals; moments as people read them."""

from datetime import UTC, datetime


def printable(text: str, limit: int = 300) -> str:
    """`text` with every character that is not printable (controls, bidi overrides, line ends, lone surrogates) as a `\\u....` escape,
    cut to `limit` characters.

    Unicode's "other" and "separator" classes but the space are not `str.isprintable`; that covers CVE-2021-42574 (bidi overrides) too.
    """
    cut = text[:limit] + ("…" if len(text) > limit else "")
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut)


def file_name(text: str, limit: int = 250) -> str:
    """A file name made printable. What is too long loses its middle: its end says what kind of file it is."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}…{text[-half:]}"
    return printable(text, limit + 1)


def time_text(time_us: int) -> str:
    """Microseconds since 1970 as UTC, to the second."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
