"""What the policy that ships decides, before anybody has changed anything but names."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay.model.authentication import Authentication, Result
from relay.model.decision import Disposition, Epoch
from relay.model.finding import Kind
from relay.policy.load import load_policy
from tests.stages.decide.cases import NOBODY_LOOKED, TODAY, attachment, case, found, inspection, verdict

POLICY = load_policy(Path(__file__).parents[3] / "policies")
DELIVER, HOLD, QUARANTINE, REJECT = Disposition
OURS = "jan@example.org"


def said(recipient: str, phase: str, *, inside: bool = True, sender: str = "anna@example.org", **changes: object) -> Disposition:
    """Of a sender and a recipient who know each other; from outside nobody signs or asks for anything, where it is not said."""
    about = case(recipient, inside=inside, sender=sender, **changes)
    if about.inspection is not None:
        authentication = about.inspection.authentication or (None if inside else Authentication())
        looked_up = replace(about.inspection, first_times=(), first_times_today=0, authentication=authentication)
        about = replace(about, inspection=looked_up)
    return verdict(POLICY, about, Epoch(POLICY.digest, phase), TODAY).disposition


@pytest.mark.parametrize(
    ("phase", "outside", "partner", "internal"),
    [("closed", HOLD, HOLD, DELIVER), ("partners", HOLD, DELIVER, DELIVER), ("open", DELIVER, DELIVER, DELIVER)],
)
def test_phases_open_in_steps(phase: str, outside: Disposition, partner: Disposition, internal: Disposition) -> None:
    assert said("piet@elsewhere.example", phase) is outside
    assert said("clerk@sub.court.example", phase) is partner
    assert said(OURS, phase) is internal
    assert said(OURS, phase, inside=False, sender="piet@elsewhere.example") is outside
    assert said(OURS, phase, inside=False, sender="clerk@court.example") is partner


def test_large_mail_waits_until_everything_is_open() -> None:
    assert said("clerk@court.example", "partners", size=30_000_000) is HOLD
    assert said("clerk@court.example", "open", size=30_000_000) is DELIVER


@pytest.mark.parametrize("name", ["invoice.pdf.exe", "a.JS", "photo.lnk", "book.xlsm"])
@pytest.mark.parametrize("inside", [True, False])
def test_what_runs_when_it_is_opened_waits_for_a_person(name: str, inside: bool) -> None:
    sender = "anna@example.org" if inside else "piet@elsewhere.example"

    assert said(OURS, "open", inside=inside, sender=sender, inspection=inspection(attachments=[attachment(name)])) is QUARANTINE


def test_personal_numbers_are_no_danger_to_who_gets_them() -> None:
    content = inspection(found(Kind.PERSONAL, "bsn"))

    assert said("piet@elsewhere.example", "open", inspection=content) is QUARANTINE
    assert said("clerk@court.example", "open", inspection=content) is DELIVER
    assert said(OURS, "open", inside=False, sender="x@elsewhere.example", inspection=content) is DELIVER


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.HEADER, Kind.PERSONAL)])
def test_no_finding_passes_in_the_policy_that_ships(kind: Kind) -> None:
    content = inspection(found(kind))

    assert said("piet@elsewhere.example", "open", inspection=content) is QUARANTINE
    assert said(OURS, "open", inside=False, sender="x@elsewhere.example", inspection=content) >= QUARANTINE


def test_malware_from_outside_is_refused_and_our_own_is_kept_for_a_person() -> None:
    content = inspection(found(Kind.MALWARE, "Eicar"))

    assert said(OURS, "open", inside=False, sender="x@elsewhere.example", inspection=content) is REJECT
    assert said("x@elsewhere.example", "open", inspection=content) is QUARANTINE


def test_a_busy_relay_says_later_and_fills_no_quarantine() -> None:
    later = verdict(POLICY, case(OURS, inside=False, inspection=NOBODY_LOOKED), Epoch(POLICY.digest, "open"), TODAY)

    assert (later.disposition, later.deferred) == (DELIVER, True)


@pytest.mark.parametrize(("policy", "expected"), [("reject", QUARANTINE), ("quarantine", QUARANTINE), ("none", DELIVER)])
def test_mail_that_fails_dmarc_waits_where_its_domain_asks_for_that(policy: str, expected: Disposition) -> None:
    for result in (Result.FAIL, Result.PASS, Result.TEMPERROR):
        content = inspection(authentication=Authentication(dmarc=result, policy=policy))
        said_of = said(OURS, "open", inside=False, sender="piet@elsewhere.example", inspection=content)
        assert said_of is (expected if result is Result.FAIL else DELIVER)
