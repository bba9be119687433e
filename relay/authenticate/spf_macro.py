"""Macros in an SPF record (RFC 7208 §7)."""

import ipaddress
import re
from urllib.parse import quote

from relay.authenticate.spf_record import MACRO

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
UNRESERVED = "-._~"


def expanded(text: str, values: dict[str, str]) -> str:
    """`values` by macro letter in lower case. A name that gets too long loses labels on the left (RFC 7208 §7.3)."""
    name = MACRO.sub(lambda match: _one(match, values), text)
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name.rstrip(".")


def _one(match: re.Match[str], values: dict[str, str]) -> str:
    letter, digits, reverse, delimiters = match.groups()
    if letter is None:
        return {"%%": "%", "%_": " ", "%-": "%20"}[match[0]]
    parts = re.split(f"[{re.escape(delimiters or '.')}]", values[letter.lower()])
    if reverse:
        parts.reverse()
    if digits:
        parts = parts[-min(int(digits), 128) :]  # RFC 7208 §7.3: 128 labels are always enough
    value = ".".join(parts)
    return quote(value, safe=UNRESERVED) if letter.isupper() else value


def dotted(address: Address) -> str:
    """RFC 7208 §7.3, `i`: IPv6 as nibbles."""
    return str(address) if address.version == 4 else ".".join(address.exploded.replace(":", ""))
