"""Lists of `name=value`, as DKIM and DMARC publish them in DNS (RFC 6376 §3.2, RFC 9989 §4.7)."""


def tags_of(text: bytes, most: int) -> dict[str, str] | None:
    """White space around names and values is left out; None where it is no such list, or has more octets than `most`."""
    tags: dict[str, str] = {}
    try:
        items = text.decode("ascii").split(";") if len(text) <= most else [""]
    except UnicodeDecodeError:
        return None
    for item in items:
        if not item.strip():
            continue
        name, equals, value = item.partition("=")
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = value.strip()
    return tags or None
