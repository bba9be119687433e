"""The facts of the message header that policy, people and the later stages need."""

import re

from relay.model.address import address_key, domain_key
from relay.model.features import Header
from relay.model.text import printable
from relay.read import words
from relay.read.addresses import HeaderAddress, parse_addresses, without_comments
from relay.read.part import HeaderField

MAX_TEXT = 1000
MAX_RECIPIENTS = 1000


def header_facts(fields: list[HeaderField], size: int, authserv_id: str) -> Header:
    """From all fields of the message header; `size` is its octets. A From that is no address list gives a `from_fields` of 1 and no
    address.
    """
    froms = [item for item in fields if item.name == "from"]
    addresses = [_addresses(item) for item in froms]
    known = [address for found in addresses if found for address in found]
    # One that can't be read makes the whole From unreadable: half of it would be somebody's guess.
    readable = all(found for found in addresses)
    return Header(
        from_addresses=tuple(address_key(item.address) for item in known) if readable else (),
        from_fields=len(froms),
        from_display=_text(known[0].display) if known else "",
        sender=_first_address(fields, "sender"),
        to=tuple(_recipients(fields))[:MAX_RECIPIENTS],
        subject=_text(_value(fields, "subject")),
        message_id=printable(_value(fields, "message-id").strip(" \t"), 250),
        date=printable(_value(fields, "date").strip(" \t"), 100),
        auto_submitted=printable(_value(fields, "auto-submitted").strip(" \t").lower(), 50),
        received=sum(item.name == "received" for item in fields),
        size=size,
        eight_bit=any(not item.value.isascii() for item in fields),
        delivered_to=tuple(_addresses_in(fields, "delivered-to", "x-loop"))[:MAX_RECIPIENTS],
        list_mail=any(_of_list(item) for item in fields),
        forged_results=tuple((item.start, item.end) for item in fields if _claims(item, authserv_id)),
    )


def _value(fields: list[HeaderField], name: str) -> str:
    raw = next((item.value for item in fields if item.name == name), b"")
    return _decoded(raw)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8" if _is_utf8(raw) else "latin-1")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _addresses(item: HeaderField) -> list[HeaderAddress] | None:
    """A display name in another charset is common; an address in one is a guess, and None."""
    found = parse_addresses(_decoded(item.value))
    if found and not _is_utf8(item.value) and not all(mailbox.address.isascii() for mailbox in found):
        return None
    return found


def _first_address(fields: list[HeaderField], name: str) -> str:
    for item in fields:
        if item.name == name and (found := _addresses(item)):
            return address_key(found[0].address)
    return ""


def _recipients(fields: list[HeaderField]) -> list[str]:
    return _addresses_in(fields, "to", "cc")


def _addresses_in(fields: list[HeaderField], *names: str) -> list[str]:
    return [address_key(found.address) for item in fields if item.name in names for found in _addresses(item) or []]


def _of_list(item: HeaderField) -> bool:
    """A list says who it is (RFC 2919, RFC 2369); older ones, and mass mailers, say how little it matters (RFC 2076 §3.9)."""
    if item.name == "precedence":
        return _decoded(item.value).strip(" \t").lower() in ("list", "bulk", "junk")
    return item.name in ("list-id", "list-post", "list-unsubscribe")


def _text(value: str) -> str:
    """RFC 2047 words decoded, controls shown as escapes."""
    value = value.strip(" \t")[: words.MAX_TEXT]
    try:
        return printable(words.decoded_words(value, "replace"), MAX_TEXT)
    except (LookupError, ValueError):
        return printable(value, MAX_TEXT)


def _claims(item: HeaderField, authserv_id: str) -> bool:
    """Whether an Authentication-Results field is in our name (RFC 8601 §5): comments and case aside, and rather once too often removed."""
    if item.name != "authentication-results":
        return False
    text = without_comments(_decoded(item.value)).lstrip(" \t")
    if text.startswith("("):  # never closed
        return True
    first = re.match(r'"?([^ \t;"/]+)', text)
    return bool(first) and domain_key(first[1]) == domain_key(authserv_id) if first else True
