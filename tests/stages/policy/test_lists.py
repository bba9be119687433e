"""Lists: one entry a line, meant literally unless it is marked as a pattern."""

import pytest

from relay.policy.lists import AddressSet, EntryList, parse
from relay.policy.load import build
from tests.stages.policy.texts import FILES, problems_of

DIGEST = "ab" * 32
RECIPIENTS = "recipients:\n  - domains: [example.nl]\n    check: list\n    file: lists/ours.txt\n"


def test_entries_are_addresses_domains_patterns_or_digests() -> None:
    found = parse("# ours\njan@example.nl\n\nexample.org # all of it\npattern: *@*.b.nl\n")

    assert found == EntryList(frozenset({"jan@example.nl", "example.org"}), ("*@*.b.nl",))
    assert parse(f"{DIGEST}\n") == EntryList(frozenset(), (), frozenset({DIGEST}))


def test_addresses_are_known_by_their_folded_form() -> None:
    found = parse('Jan@EXAMPLE.nl\n"o\'x y"@example.nl\njosé@bücher.example\n')

    assert found.literal == {"jan@example.nl", "o'x y@example.nl", "josé@xn--bcher-kva.example"}


@pytest.mark.parametrize(
    ("address", "covered"),
    [
        ("jan@example.nl", True),
        ("piet@example.nl", False),
        ("any@example.org", True),
        ("any@below.example.org", False),
        ("x@y.b.nl", True),
        ("x@b.nl", False),
        ("", False),
    ],
)
def test_a_list_covers_what_stands_in_it_and_what_its_patterns_cover(address: str, covered: bool) -> None:
    assert AddressSet(parse("jan@example.nl\nexample.org\npattern: *@*.B.nl\n")).covers(address) is covered


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("piet", "no address, no domain and no SHA-256"),
        ("a b@example.nl", "no address, no domain and no SHA-256"),
        ("*@example.nl", "an entry is meant literally; a pattern is marked: 'pattern: *@example.nl'"),
        ("*.example.nl", "an entry is meant literally; a pattern is marked: 'pattern: *@*.example.nl'"),
        (".example.nl", "an entry is meant literally; a pattern is marked: 'pattern: *@*.example.nl'"),
        ("pattern: example.nl", "a pattern covers whole addresses, such as 'pattern: *@*.b.nl'"),
        ("AB" * 32, "no address, no domain and no SHA-256"),
    ],
)
def test_a_line_that_could_never_match_is_refused_with_its_line(entry: str, what: str) -> None:
    assert problems_of(FILES | {"lists/blocked.txt": f"# first\n{entry}\n"}) == [f"policies/lists/blocked.txt:2: {what}"]


def test_a_list_that_is_no_list_says_so_in_a_few_lines() -> None:
    found = problems_of(FILES | {"lists/blocked.txt": "nothing\n" * 50_000})

    assert len(found) == 21
    assert found[-1] == "policies/lists/blocked.txt: 49980 more lines that are no entry"


def test_digests_and_addresses_do_not_share_a_list() -> None:
    assert problems_of(FILES | {"lists/mixed.txt": f"{DIGEST}\njan@example.nl\n"}) == [
        "policies/lists/mixed.txt:1: a list holds either digests, or addresses and domains"
    ]


def test_a_list_of_recipients_holds_addresses_only() -> None:
    files = FILES | {"recipients.yaml": RECIPIENTS, "lists/ours.txt": "jan@example.nl\nexample.nl\n"}

    assert problems_of(files) == [
        "policies/recipients.yaml:2: a list of recipients holds addresses only, and 'lists/ours.txt' has other entries"
    ]
    assert build(files | {"lists/ours.txt": "jan@example.nl\n"})
