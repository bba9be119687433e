"""RFC 8785 canonical JSON. The only place that knows rfc8785."""

import json
from typing import Any

import rfc8785

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":"))
_EXACT = 2**53  # RFC 8785 §3.2.2.3: integers are numbers of ECMAScript


def canonical_json(value: dict[str, Any]) -> bytes:
    """The canonical form of a JSON object. Raises rfc8785.CanonicalizationError for what has none, such as an integer beyond 2^53.

    Python's encoder in C writes the same octets where all numbers are integers and no key needs more than ASCII, many times as fast
    (RFC 8785 §3.2: sorted keys, no space, shortest escapes); what it might write otherwise is left to rfc8785."""
    return _ENCODER.encode(value).encode("utf-8") if _is_plain(value) else rfc8785.dumps(value)


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return all(type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, int):  # bool too
        return -_EXACT < value < _EXACT
    return value is None
