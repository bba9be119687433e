"""Text from the outside made fit for logs, headers and terminals."""


def printable(text: str, limit: int = 300) -> str:
    """`text` with every character that is not printable (controls, bidi overrides, line ends, lone surrogates) as a `\\u....` escape,
    cut to `limit` characters.

    Unicode's "other" and "separator" classes but the space are not `str.isprintable`; that covers CVE-2021-42574 (bidi overrides) too.
    """
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut)
