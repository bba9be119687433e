"""What all policy models are made of: strictness, names, and patterns of addresses."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Frozen, and nothing is guessed: no unknown key, no coercion between types."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
"""A name that others refer to: kebab-case."""

_LABEL = re.compile(r"[^\s@*.,;:<>()\[\]\"\\/]{1,63}")
_LITERAL = re.compile(r"\[[0-9A-Fa-fIPVipv:.]+\]")  # RFC 5321 §4.1.3


def is_domain(text: str) -> bool:
    """Whether this is a domain, in any script."""
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in text.split("."))


def _domain(text: str) -> str:
    if not is_domain(text):
        raise ValueError(f"'{text}' is no domain")
    return text


def is_address(text: str) -> bool:
    """Whether this is `local@domain`, or a domain literal after the `@` (RFC 5321 §4.1.2); a local part may be in any script."""
    local, _, domain = text.rpartition("@")
    return _is_local(local) and (is_domain(domain) or _LITERAL.fullmatch(domain) is not None)


def _is_local(text: str) -> bool:
    """No space but in quotes, no `*`: some servers take it, and here it would look like a pattern."""
    quoted = len(text) > 2 and text[0] == text[-1] == '"'
    return bool(text) and text.isprintable() and "*" not in text and (quoted or " " not in text)


def _pattern(text: str) -> str:
    """A pattern that can never match anything is a mistake, and in a deny rule a dangerous one."""
    if text == "*":
        return text
    local, at, domain = text.rpartition("@")
    if at:
        if not local:
            raise ValueError(f"'{text}': a whole domain is written '{domain}'")
        if not _is_local(local):
            raise ValueError(f"'{text}': an address has no '*' and no space; a whole domain is written '{domain}'")
        if not is_address(text):
            raise ValueError(f"'{text}': '{domain}' is no domain")
        return text
    if text.startswith("*."):
        raise ValueError(f"'{text}': everything below a domain is written '{text[1:]}'")
    if not is_domain(text.removeprefix(".")):
        raise ValueError(f"'{text}' is no address, no domain, no '.domain' and not '*'")
    return text


Domain = Annotated[str, AfterValidator(_domain)]
"""A domain, as A-labels or as written in its own script."""

Pattern = Annotated[str, Field(min_length=1, max_length=320), AfterValidator(_pattern)]
"""An address (`a@b.nl`), a domain (`b.nl`), all below a domain (`.b.nl`, not the domain itself), or `*` for any."""

ListName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
"""A list file, `lists/NAME.txt`, by its name."""

LIST = "list:"


def _listed(text: str) -> str:
    if text.startswith(LIST):
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", text.removeprefix(LIST)):
            raise ValueError(f"'{text}': a list is named as its file, lists/NAME.txt, in lower case")
        return text
    return _pattern(text)


Listed = Annotated[str, Field(min_length=1, max_length=320), AfterValidator(_listed)]
"""A pattern, or `list:NAME` for all that stands in a list."""


def list_names(entries: Iterable[str] | None) -> Iterator[str]:
    """The lists among such entries."""
    return (entry.removeprefix(LIST) for entry in entries or () if entry.startswith(LIST))


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"'{text}' is no time zone of the IANA database such as Europe/Amsterdam") from None
    return text


Zone = Annotated[str, AfterValidator(_zone)]
"""A time zone of the IANA database."""
