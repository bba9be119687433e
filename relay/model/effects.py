"""What follows from a decision besides its disposition, for one recipient: kept as evidence, TLS, fields put in front, notices."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Effects:
    """`keep`: it is evidence, and can never be released. `require_tls`: it leaves over verified TLS only, whatever the route asks for.
    `fields` are (name, value) of header fields that are put in front, sorted. `notify` are (rule, address), sorted: who is told that
    the rule matched."""

    keep: bool = False
    require_tls: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    notify: tuple[tuple[str, str], ...] = ()

    @property
    def prefix(self) -> bytes:
        """The fields as octets, each CRLF-ended. Policy lets printable ASCII in only (relay/policy/effects.py)."""
        return b"".join(f"{name}: {value}\r\n".encode("ascii") for name, value in self.fields)

    @property
    def way(self) -> tuple[bool, tuple[tuple[str, str], ...]]:
        """What recipients have to share who are sent one copy: one's fields must not reach another, nor its mail go another's way."""
        return self.require_tls, self.fields

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, only what is there; `from_json` reads them back."""
        value: dict[str, Any] = {}
        if self.keep:
            value["keep"] = True
        if self.require_tls:
            value["require_tls"] = True
        if self.fields:
            value["headers"] = [list(field) for field in self.fields]
        if self.notify:
            value["notify"] = [list(told) for told in self.notify]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> "Effects":
        """None, as most rows have it, is no effect."""
        if value is None:
            return NO_EFFECTS
        return cls(
            keep=value.get("keep", False),
            require_tls=value.get("require_tls", False),
            fields=tuple((name, text) for name, text in value.get("headers", ())),
            notify=tuple((rule, address) for rule, address in value.get("notify", ())),
        )


NO_EFFECTS = Effects()
