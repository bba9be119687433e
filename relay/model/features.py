"""What is known of a message once it was read and inspected: all that decide looks at, recorded so that deciding again needs no body."""

from dataclasses import dataclass, fields
from typing import Any

from relay.model.authentication import MOST_SIGNATURES, Authentication, Signature
from relay.model.finding import Finding, Kind


@dataclass(frozen=True, slots=True)
class Attachment:
    """One leaf part. `part` is its path; `name` the file name as shown (decoded, controls removed) or empty; `declared` and `true_type` are
    media types in lower case; `size` and `sha256` are of the decoded bytes; `members` are names inside an archive."""

    part: str
    name: str
    declared: str
    true_type: str
    size: int
    sha256: str
    inline: bool = False
    encrypted: bool = False
    members: tuple[str, ...] = ()

    @property
    def extension(self) -> str:
        """The last extension of the name, in lower case, without the dot. Windows drops dots and spaces at the end of a name, so that
        `a.exe. ` is a program."""
        return self.name.rstrip(". ").rpartition(".")[2].lower() if "." in self.name else ""


@dataclass(frozen=True, slots=True)
class Header:
    """Header facts: `from_addresses` are the addresses of all From fields; text is decoded, with controls removed. `received` counts
    Received fields; `forged_results` are (start, end) byte ranges of Authentication-Results fields in our name, end exclusive.
    `delivered_to` are the addresses in Delivered-To and X-Loop; `list_mail` says that a mailing list or a mass mailer sent it. What was
    recorded before they were looked for has None for both."""

    from_addresses: tuple[str, ...] = ()
    from_fields: int = 0
    from_display: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    subject: str = ""
    message_id: str = ""
    date: str = ""
    auto_submitted: str = ""
    received: int = 0
    size: int = 0
    eight_bit: bool = False
    forged_results: tuple[tuple[int, int], ...] = ()
    delivered_to: tuple[str, ...] | None = None
    list_mail: bool | None = None


_HEADER, _ATTACHMENT, _FINDING, _SIGNATURE = (
    tuple(field.name for field in fields(kind)) for kind in (Header, Attachment, Finding, Signature)
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the inspect worker answers: header facts, parts, findings, and the names of inspectors that were unavailable.
    `answered` names the inspectors that looked and answered; policy says which of them must.

    Some facts are the road's, which looks them up where policy asks; None is not known. `first_times` are the keys of recipients to whom
    nothing of the sender was delivered before, `first_times_today` counts such recipients of the sender on this day (where there is
    none it is looked up only if it matters). `authentication` is of mail from outside; `signatures` is what the worker gives for it, and is
    not recorded."""

    header: Header
    attachments: tuple[Attachment, ...] = ()
    findings: tuple[Finding, ...] = ()
    unavailable: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    eight_bit: bool = False
    versions: tuple[tuple[str, str], ...] = ()
    first_times: tuple[str, ...] | None = None
    first_times_today: int | None = None
    authentication: Authentication | None = None
    signatures: tuple[Signature, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads it back. Written out: `dataclasses.asdict` copies every value by reflection, and every
        message comes by here three times."""
        value: dict[str, Any] = {
            "header": {name: getattr(self.header, name) for name in _HEADER},
            "attachments": [{name: getattr(attachment, name) for name in _ATTACHMENT} for attachment in self.attachments],
            "findings": [{name: getattr(finding, name) for name in _FINDING} for finding in self.findings],
            "unavailable": self.unavailable,
            "answered": self.answered,
            "eight_bit": self.eight_bit,
            "versions": self.versions,
        }
        if self.first_times is not None:
            value |= {"first_times": self.first_times, "first_times_today": self.first_times_today}
        if self.authentication is not None:
            value["authentication"] = self.authentication.to_json()
        if self.signatures:
            value["signatures"] = [{name: getattr(one, name) for name in _SIGNATURE} for one in self.signatures]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Inspection":
        """Reads what `to_json` wrote, from the worker or from the record."""
        header = dict(value["header"])
        for name in ("from_addresses", "to"):
            header[name] = tuple(header[name])
        if header.get("delivered_to") is not None:
            header["delivered_to"] = tuple(header["delivered_to"])
        header["forged_results"] = tuple((start, end) for start, end in header["forged_results"])
        return cls(
            header=Header(**header),
            attachments=tuple(Attachment(**{**item, "members": tuple(item["members"])}) for item in value["attachments"]),
            findings=tuple(Finding(**{**item, "kind": Kind(item["kind"])}) for item in value["findings"]),
            unavailable=tuple(value["unavailable"]),
            answered=tuple(value["answered"]),
            eight_bit=value["eight_bit"],
            versions=tuple((name, version) for name, version in value["versions"]),
            first_times=tuple(value["first_times"]) if value.get("first_times") is not None else None,
            first_times_today=value.get("first_times_today"),
            authentication=Authentication.from_json(value["authentication"]) if value.get("authentication") else None,
            signatures=tuple(Signature.from_json(item) for item in value.get("signatures", ())[:MOST_SIGNATURES]),
        )
