"""RFC 8785 canonical JSON. The only place that knows rfc8785."""

import contextlib
from typing import Any

import rfc8785

from relay.model.plain_json import sorted_json


def canonical_json(value: dict[str, Any]) -> bytes:
    """The canonical form of a JSON object. Raises rfc8785.CanonicalizationError for what has none, such as an integer beyond 2^53.

    orjson writes the same octets where there are no fractions and no key needs more than ASCII, many times as fast (RFC 8785 §3.2: sorted
    keys, no space, shortest escapes); what it might write otherwise, or refuses, is left to rfc8785."""
    with contextlib.suppress(TypeError):
        if _is_plain(value):
            return sorted_json(value)
    return rfc8785.dumps(value)


def _is_plain(value: dict[str, Any]) -> bool:
    """Whether no number is written otherwise (RFC 8785 §3.2.2.3), no key sorted otherwise (§3.2.3), and nothing is no JSON. Raises
    TypeError for a key that is no text."""
    within: list[Any] = [value]
    for item in within:  # which grows meanwhile
        kind = type(item)
        if kind is str:
            continue
        if kind is dict:
            if not "".join(item).isascii():
                return False
            within.extend(item.values())
        elif kind is list:
            within.extend(item)
        elif item is not None and not isinstance(item, (int, str)):
            return False
    return True
