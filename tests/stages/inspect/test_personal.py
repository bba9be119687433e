"""Personal numbers are told by form and check, counted, and never kept."""

import pytest

from relay.inspect.item import Item
from relay.inspect.personal import PersonalNumbers, case_numbers, citizen_numbers, ibans, in_subject, plain_text
from tests.stages.cost import in_proportion


def found(data: bytes, declared: str = "text/plain") -> dict[str, str]:
    """Names and counts of what is found in a text."""
    item = Item("1", "", declared, True, data, true_type="text/plain")
    return {finding.name: finding.detail for finding in PersonalNumbers().inspect(item)}


# Numbers that pass the test and belong to nobody: 111222333 and 123456782 are the examples of the tax service.
@pytest.mark.parametrize("text", ["BSN 111222333.", "123456782", "(1234.56.782)", "123 456 782", "bsn:\t1234 56 782,"])
def test_a_citizen_service_number_is_found_as_it_is_written(text: str) -> None:
    assert len(list(citizen_numbers(text))) == 1


@pytest.mark.parametrize(
    "text",
    ["123456789", "000000000", "1112223334", "0111222333", "A111222333", "111222333-1", "111222333.5", "2026/111222333", "11 12 22 333"],
)
def test_what_fails_the_eleven_test_or_is_part_of_something_longer_is_none(text: str) -> None:
    assert list(citizen_numbers(text)) == []


@pytest.mark.parametrize(
    "text", ["NL91 ABNA 0417 1643 00", "NL91ABNA0417164300", "IBAN: DE89370400440532013000.", "GB82 WEST 1234 5698 7654 32"]
)
def test_an_iban_is_found_by_its_check_digits(text: str) -> None:
    assert len(list(ibans(text))) == 1


@pytest.mark.parametrize("text", ["NL92ABNA0417164300", "NL91", "XX00 0000 0000 0000", "nl91abna0417164300", "ANL91ABNA0417164300"])
def test_what_has_other_check_digits_is_none(text: str) -> None:
    assert list(ibans(text)) == []


@pytest.mark.parametrize(
    ("text", "count"), [("parketnummer 10/750123-15", 1), ("10-750123-15 en 10/750123-15", 1), ("2010/750123-15", 0), ("10/75012-15", 0)]
)
def test_a_case_number_is_told_by_its_form(text: str, count: int) -> None:
    assert len(set(case_numbers(text))) == count


def test_what_is_found_is_counted_and_not_kept() -> None:
    told = found(b"111222333, 111222333 and 123456782; NL91ABNA0417164300\r\n")

    assert told == {"bsn": "2 different", "iban": "1 different"}


def test_markup_and_wide_characters_split_no_number() -> None:
    assert found(b"<p>111<b>222</b>333 &#49;23456782</p>", "text/html") == {"bsn": "2 different"}
    assert found("111222333".encode("utf-16-le")) == {"bsn": "1 different"}
    assert plain_text(b"a &lt;b&gt; c") == "a <b> c"


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "&nbsp;"])
def test_spaces_that_do_not_break_a_line_hide_no_number(space: str) -> None:
    told = found("123 456 782 of NL91 ABNA 0417 1643 00".replace(" ", space).encode(), "text/html")

    assert told == {"bsn": "1 different", "iban": "1 different"}
    assert found(b"123\xa0456\xa0782") == {"bsn": "1 different"}


def test_the_name_of_an_attachment_and_the_subject_are_looked_at_too() -> None:
    named = Item("2", "dossier 10-750123-15.pdf", "application/pdf", False, b"%PDF", true_type="application/pdf")

    assert [(one.name, one.part) for one in PersonalNumbers().inspect(named)] == [("case-number", "2")]
    assert [(one.name, one.part, one.detail) for one in in_subject("Zaak 10/750123-15, BSN 111222333")] == [
        ("bsn", "", "1 different"),
        ("case-number", "", "1 different"),
    ]


def test_what_is_no_text_is_not_looked_through() -> None:
    assert list(PersonalNumbers().inspect(Item("1", "", "image/png", True, b"111222333", true_type="image/png"))) == []


@pytest.mark.parametrize("piece", [b"<", b"1 ", b"1.", b"&", b"NL91 ", b"A1", b"12/"])
def test_hostile_text_costs_time_in_proportion(piece: bytes) -> None:
    assert in_proportion(lambda octets: found(piece * (octets // len(piece))), 2 * 1024 * 1024, at_most=10)
