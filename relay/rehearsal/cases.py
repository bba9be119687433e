"""The tests of a policy: `tests/*.yaml` beside it, each a message, how it comes, and what is expected of it for each recipient."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.model.authentication import Authentication, Result
from relay.model.errors import ConfigurationError
from relay.model.finding import Finding, Kind
from relay.policy.base import Name, Strict
from relay.policy.load import parse_as
from relay.policy.models import Policy
from relay.rehearsal.message import MessageText, build
from relay.rehearsal.stand import Given

FOLDER = "tests"
Word = Literal["deliver", "defer", "hold", "quarantine", "reject", "refuse"]


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is no moment such as 2026-11-27T09:00:00+01:00") from None
    if moment.tzinfo is None:
        raise ValueError(f"'{text}' says no zone: end it with Z or +01:00")
    return text


class FindingText(Strict):
    """Something that inspection is said to have found."""

    kind: Kind = Field(description="its kind")
    name: str = Field(min_length=1, description="its name")
    inspector: str = Field(default="clamd", description="who found it")
    part: str = Field(default="", description="the path of the part")


class AuthenticationText(Strict):
    """What SPF, DKIM and DMARC say of mail from outside; without it, that nobody signed and no domain asks anything."""

    spf: Result = Field(default=Result.NONE, description="the result of SPF")
    dkim: Result = Field(default=Result.NONE, description="the best result of its signatures")
    dmarc: Result = Field(default=Result.NONE, description="the result of DMARC")
    dmarc_policy: Literal["none", "quarantine", "reject"] | None = Field(default=None, description="what the domain in From asks")


class EnvelopeText(Strict):
    """How the message comes."""

    client: Name = Field(description="the client that brings it")
    sender: str = Field(description="the reverse-path; empty for a bounce")
    recipients: tuple[str, ...] = Field(min_length=1, description="the recipients")
    tls: bool = Field(default=True, description="whether it comes over TLS")
    login: str | None = Field(default=None, description="the login of the client")


class Expected(Strict):
    """What is expected for a recipient."""

    recipient: str | None = Field(default=None, description="the one that this is about; without it every recipient")
    disposition: Word = Field(description="`deliver`, `defer`, `hold`, `quarantine`, `reject`; `refuse` before DATA")
    rules: tuple[Name, ...] | None = Field(default=None, description="the rules that carry it, all of them")
    waived: tuple[Name, ...] | None = Field(default=None, description="the rules that were waived, all of them")
    observed: tuple[Name, ...] | None = Field(default=None, description="the observed rules that would have matched, all of them")
    route: Name | None = Field(default=None, description="the route that it would leave by")
    keep: bool | None = Field(default=None, description="whether it is kept as evidence")
    require_tls: bool | None = Field(default=None, description="whether a rule asks for verified TLS")
    headers: dict[str, str] | None = Field(default=None, description="the fields put in front, all of them")
    notify: tuple[str, ...] | None = Field(default=None, description="the addresses that are told, all of them")
    code: int | None = Field(default=None, description="what the client hears: at RCPT or MAIL where it is refused there, else after DATA")


class PolicyTest(Strict):
    """One test."""

    name: str = Field(min_length=1, description="what it shows, as a sentence")
    message: MessageText = Field(default=MessageText(), description="the message")
    envelope: EnvelopeText = Field(description="how it comes")
    phase: Name | None = Field(default=None, description="the phase that holds; without it the last one, the most open")
    brake: bool = Field(default=False, description="whether the brake is on")
    at: Annotated[str, AfterValidator(_moment)] | None = Field(default=None, description="the moment, with its zone; without it now")
    findings: tuple[FindingText, ...] = Field(default=(), description="what inspection finds besides what is really in it")
    unavailable: tuple[str, ...] = Field(default=(), description="inspectors that do not answer")
    first_time_recipients: tuple[str, ...] = Field(default=(), description="recipients to whom the sender never wrote before")
    first_time_recipients_today: int | None = Field(
        default=None, ge=0, description="how many such recipients the sender has had today; without it those of this message"
    )
    authentication: AuthenticationText | None = Field(default=None, description="what SPF, DKIM and DMARC say; of mail from outside only")
    expect: tuple[Expected, ...] = Field(min_length=1, description="what is expected")


class PolicyTests(Strict):
    """A file of them."""

    tests: tuple[PolicyTest, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """A test and where it stands (`file:line`)."""

    test: PolicyTest
    where: str
    folder: Path

    def given(self, policy: Policy, now_us: int) -> Given:
        """What is rehearsed. Raises ConfigurationError."""
        test, envelope = self.test, self.test.envelope
        return Given(
            octets=build(test.message, envelope.sender, envelope.recipients, self.folder),
            client=envelope.client,
            sender=envelope.sender,
            recipients=envelope.recipients,
            phase=test.phase or policy.organisation.phases[-1],
            at_us=int(datetime.fromisoformat(test.at).astimezone(UTC).timestamp() * 1e6) if test.at else now_us,
            tls=envelope.tls,
            brake=test.brake,
            login=envelope.login,
            findings=tuple(Finding(found.kind, found.inspector, found.name, found.part) for found in test.findings),
            unavailable=test.unavailable,
            first_times=test.first_time_recipients,
            first_times_today=len(test.first_time_recipients)
            if test.first_time_recipients_today is None
            else test.first_time_recipients_today,
            authentication=_authentication(test.authentication),
        )


def _authentication(given: AuthenticationText | None) -> Authentication | None:
    return None if given is None else Authentication(given.spf, given.dkim, given.dmarc, given.dmarc_policy or "")


def read_tests(policies: Path) -> list[Located]:
    """Every test beside a policy folder, in the order of files and lines. Raises ConfigurationError with all problems."""
    folder = policies / FOLDER
    files = sorted(folder.glob("*.yaml"))
    others = (path for path in folder.rglob("*") if path.suffix.lower() in (".yaml", ".yml") and path not in files)
    problems = [f"{path}: tests are read from {FOLDER}/*.yaml alone: nobody would run these" for path in sorted(others)]
    found: list[Located] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        except UnicodeDecodeError:
            problems.append(f"{path}: not UTF-8")
            continue
        parsed, document = parse_as(text, PolicyTests, str(path), problems)
        if isinstance(parsed, PolicyTests):
            found += [Located(test, f"{path}:{document.line(('tests', index))}", folder) for index, test in enumerate(parsed.tests)]
    problems += _names(found)
    problems += (problem for located in found for problem in _recipients(located))
    if problems:
        raise ConfigurationError(problems)
    return found


def _names(found: list[Located]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{one.where}: the name '{one.test.name}' is taken, at {first[one.test.name]}"
        for one in found
        if first.setdefault(one.test.name, one.where) != one.where
    ]


def _recipients(located: Located) -> list[str]:
    """An expectation for somebody who gets nothing could not fail."""
    known = located.test.envelope.recipients
    return [
        f"{located.where}: '{expected.recipient}' is expected, and is no recipient of the envelope"
        for expected in located.test.expect
        if expected.recipient is not None and expected.recipient not in known
    ]
