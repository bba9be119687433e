"""What each key of a condition looks at."""

from typing import Any

import pytest

from relay.model.case import Case
from relay.model.decision import Epoch
from relay.model.features import Header
from relay.model.finding import Kind
from tests.stages.decide.cases import attachment, case, found, inspection, policy, rule, verdict

EXE = case(inspection=inspection(attachments=[attachment("Setup.EXE", true_type="application/x-dosexec", size=70_000)]))
ZIP = case(inspection=inspection(attachments=[attachment("a.zip", members=("docs/readme.txt", "bin/run.JS"), encrypted=True)]))


def holds(about: Case, epoch: str = "open", **when: Any) -> bool:
    """Whether a rule with this condition matches."""
    return "x" in verdict(policy(rule("x", **when)), about, Epoch("0" * 64, epoch)).rules


def attached(about: Case, **when: Any) -> bool:
    return holds(about, attachment=when)


def test_direction_is_seen_from_us() -> None:
    assert holds(case("a@partner.example"), direction=["outbound"])
    assert holds(case("a@example.nl"), direction=["internal"])
    assert holds(case("a@example.nl", inside=False), direction=["inbound"])
    assert not holds(case("a@example.nl"), direction=["outbound", "inbound"])


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"client": ["exchange"]}, True),
        ({"client": ["other"]}, False),
        ({"phase": ["open"]}, True),
        ({"phase": ["closed"]}, False),
        ({"sender": ["jan@example.nl"]}, True),
        ({"sender": ["piet@example.nl", ".example.nl"]}, False),
        ({"recipient": ["partner.example"]}, True),
        ({"header_from": ["example.nl"]}, True),
        ({"header_from": ["partner.example"]}, False),
        ({"null_sender": False}, True),
        ({"null_sender": True}, False),
        ({"tls": True}, True),
        ({"larger_than": 5000}, False),
        ({"larger_than": 4999}, True),
        ({"smaller_than": 5000}, False),
        ({"smaller_than": 5001}, True),
        ({"recipients_more_than": 1}, False),
        ({"recipients_more_than": 0}, True),
        ({"subject_contains": ["HELL"]}, True),
        ({"subject_contains": ["bye"]}, False),
        ({"tls": True, "client": ["other"]}, False),
        ({"any": [{"tls": False}, {"client": ["exchange"]}]}, True),
        ({"all": [{"tls": True}, {"client": ["other"]}]}, False),
        ({"not_": {"client": ["exchange"]}}, False),
        ({"not_": {"any": [{"tls": False}, {"client": ["other"]}]}}, True),
    ],
)
def test_everything_that_is_given_must_hold_and_a_list_holds_if_one_entry_does(when: dict[str, Any], expected: bool) -> None:
    assert holds(case(), **when) is expected


def test_the_empty_reverse_path_is_nobodys() -> None:
    bounce = case(sender="")

    assert holds(bounce, null_sender=True)
    assert not holds(bounce, sender=["*"])


def test_a_partner_is_the_other_side() -> None:
    assert holds(case("a@sub.court.example"), partner=["court"])
    assert holds(case("a@example.nl", inside=False, sender="clerk@court.example"), partner=["court"])
    assert not holds(case("a@example.nl", inside=False, sender="x@partner.example"), partner=["court"])


def test_every_author_is_looked_at() -> None:
    header = Header(from_addresses=("a@example.nl", "b@partner.example"), from_fields=1, size=100)

    assert holds(case(inspection=inspection(header=header)), header_from=["partner.example"])


def test_findings_are_matched_by_kind_or_by_name() -> None:
    about = case(inspection=inspection(found(Kind.RULE, "macro-autoopen")))

    assert holds(about, finding=["rule"])
    assert holds(about, finding_name=["macro-autoopen"])
    assert not holds(about, finding=["type"])
    assert not holds(about, finding_name=["macro"])


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, True),
        ({"extensions": ["exe"]}, True),
        ({"extensions": ["com", "bat"]}, False),
        ({"types": ["application/x-dosexec"]}, True),
        ({"types": ["application/*"]}, True),
        ({"types": ["image/*"]}, False),
        ({"names": ["setup.*"]}, True),
        ({"names": ["set?p.exe"]}, True),
        ({"names": ["setup"]}, False),
        ({"sha256": ["ab" * 32]}, True),
        ({"sha256": ["cd" * 32]}, False),
        ({"encrypted": False}, True),
        ({"encrypted": True}, False),
        ({"larger_than": 69_999, "smaller_than": 70_001}, True),
        ({"larger_than": 70_000}, False),
        ({"extensions": ["exe"], "encrypted": True}, False),
    ],
)
def test_one_attachment_must_fit_all_that_is_given(when: dict[str, Any], expected: bool) -> None:
    assert attached(EXE, **when) is expected


def test_two_attachments_do_not_fit_together() -> None:
    both = case(inspection=inspection(attachments=[attachment("a.exe", size=10), attachment("b.pdf", size=90_000)]))

    assert not attached(both, extensions=["exe"], larger_than=1000)


def test_a_message_without_attachment_has_none_that_fits() -> None:
    assert not attached(case())


def test_names_inside_an_archive_count_as_names_of_the_archive() -> None:
    assert attached(ZIP, extensions=["js"])
    assert attached(ZIP, names=["*/run.js"])
    assert attached(ZIP, encrypted=True)


@pytest.mark.parametrize("name", ["x.exe.", "x.exe ", "x.exe. .", "x.pdf.EXE"])
def test_a_program_is_one_under_any_name_that_windows_runs(name: str) -> None:
    assert attached(case(inspection=inspection(attachments=[attachment(name)])), extensions=["exe"])


def test_a_bracket_in_a_name_is_a_bracket() -> None:
    invoice = case(inspection=inspection(attachments=[attachment("invoice[1].pdf")]))

    assert attached(invoice, names=["invoice[1].*"])
    assert not attached(invoice, names=["invoice1.*"])


def test_a_file_without_a_dot_has_no_extension() -> None:
    assert not attached(case(inspection=inspection(attachments=[attachment("exe")])), extensions=["exe"])
