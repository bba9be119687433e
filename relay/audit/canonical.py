"""RFC 8785 canonical JSON. The only place that knows rfc8785."""

import json
import re
from typing import Any

import rfc8785

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":"))
# What Python's own encoder writes differently: floats and large integers as numbers, keys beyond the basic plane by their order.
_NUMBER = re.compile(r"[:,\[](-?\d{15,}|-?\d+[.eE])")


def canonical(value: dict[str, Any]) -> bytes:
    """The canonical form of a JSON object. Raises rfc8785.CanonicalizationError for what has none, such as an integer beyond 2^53.

    Python's encoder in C writes the same octets for objects whose keys are below U+D800 and whose numbers are integers of up to fourteen
    digits, thirty times as fast (RFC 8785 §3.2: sorted keys, no space, shortest escapes); whatever it might write otherwise is left to rfc8785."""
    text = _ENCODER.encode(value)
    if _NUMBER.search(text) or (not text.isascii() and max(text) >= "\ud800"):
        return rfc8785.dumps(value)
    return text.encode("utf-8")
