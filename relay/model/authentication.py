"""What SPF, DKIM and DMARC say of a message that came from outside, in the words of RFC 8601 §2.7."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """The same words for all three; which of them a method can come to is in `relay.policy.conditions`."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a word of RFC 8601
    FAIL = "fail"
    SOFTFAIL = "softfail"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


MOST_SIGNATURES = 5
"""Of one message, from the top: mail has one or two, with a mailing list three or four (RFC 6376 §8.4)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature field, read and hashed where no network is: what is left is to ask for the key. `digest` (hex) is what `value`
    (Base64) must sign. `identity` is the domain of `i=`. `known` is a result that no key can change: the field can't be used, the body is
    another; else empty."""

    domain: str
    selector: str
    algorithm: str = ""
    identity: str = ""
    digest: str = ""
    value: str = ""
    known: str = ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Signature":
        """What a worker says, which may have been taken over. Raises ValueError, TypeError."""
        if not all(isinstance(text, str) for text in value.values()):
            raise TypeError
        found = cls(**value)
        return found if not found.known else replace(found, known=Result(found.known))


@dataclass(frozen=True, slots=True)
class SignatureResult:
    """What became of one: `domain` and `selector` are its `d=` and `s=`."""

    domain: str
    selector: str
    result: Result


@dataclass(frozen=True, slots=True)
class Authentication:
    """`spf` is None where nobody can know: an edge server of ours stands between the sender's and us; and so may `dmarc` be, which rests on
    it. `dkim` is the best that a signature came to. `policy` is what the domain of From asks for mail that fails DMARC: `none`,
    `quarantine` or `reject`, empty where it asks nothing. `spf_domain` was asked for SPF, `from_domain` for DMARC."""

    spf: Result | None = Result.NONE
    dkim: Result = Result.NONE
    dmarc: Result | None = Result.NONE
    policy: str = ""
    spf_domain: str = ""
    from_domain: str = ""
    signatures: tuple[SignatureResult, ...] = ()

    def asked(self, name: str) -> str | None:
        """`spf`, `dkim`, `dmarc` or `dmarc_policy` as policy asks for it; None is not known."""
        if name == "dmarc_policy":
            return None if self.dmarc is Result.TEMPERROR and not self.policy else self.policy
        found: Result | None = getattr(self, name)
        return None if found is None else found.value

    @property
    def unfinished(self) -> bool:
        """Whether asking again may tell more."""
        return Result.TEMPERROR in (self.spf, self.dkim, self.dmarc)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads it back."""
        value = {field.name: getattr(self, field.name) for field in fields(self)}
        return value | {"signatures": [[one.domain, one.selector, one.result] for one in self.signatures]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Authentication":
        """From the record. Raises KeyError, ValueError, TypeError where it is something else."""
        return cls(
            spf=Result(value["spf"]) if value["spf"] is not None else None,
            dkim=Result(value["dkim"]),
            dmarc=Result(value["dmarc"]) if value["dmarc"] is not None else None,
            policy=str(value["policy"]),
            spf_domain=str(value["spf_domain"]),
            from_domain=str(value["from_domain"]),
            signatures=tuple(SignatureResult(domain, selector, Result(result)) for domain, selector, result in value["signatures"]),
        )
