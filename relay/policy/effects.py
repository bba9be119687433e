"""The shape of what a rule does besides its disposition: header fields from an allow-list, addresses that are told."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from relay.policy.base import is_address

ALLOWED_FIELDS = ("Comments", "Keywords")
"""Unstructured fields that anybody may add as often as he likes and no program acts on (RFC 5322 §3.6.5)."""
OUR_FIELDS = "X-Sluis-"
"""And every field of this beginning. Nothing else: a field that a mail program or server acts on would change what the author said."""
FIELD_LENGTH = 200
"""Octets of a value: with the longest name it stays far below the 998 of a line (RFC 5322 §2.1.1), so that nothing is folded."""


def _field_name(text: str) -> str:
    if text in ALLOWED_FIELDS or re.fullmatch(r"X-Sluis-[A-Za-z0-9]([A-Za-z0-9-]{0,38}[A-Za-z0-9])?", text):
        return text
    allowed = ", ".join((*ALLOWED_FIELDS, f"{OUR_FIELDS}…"))
    raise ValueError(f"'{text}' is no field that a rule may put in front; it may put {allowed}")


def _field_value(text: str) -> str:
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", text):
        raise ValueError("the value of a field is one line of printable ASCII, without a space at its ends")
    return text


def _told_address(text: str) -> str:
    if not text.isascii() or not is_address(text):
        raise ValueError(f"'{text}' is no address in ASCII that could be told")
    return text


FieldName = Annotated[str, AfterValidator(_field_name)]
FieldValue = Annotated[str, Field(max_length=FIELD_LENGTH), AfterValidator(_field_value)]
Headers = Annotated[dict[FieldName, FieldValue], Field(min_length=1, max_length=10)]
ToldAddress = Annotated[str, Field(max_length=254), AfterValidator(_told_address)]
