"""One entry more or less in a list: the file stays as somebody wrote it, but for that."""

from datetime import date

import pytest

from relay.policy.list_edit import NoEdit, added, removed
from relay.policy.lists import parse, problems

TODAY = date(2026, 11, 24)
LIST = "# who is blocked\nbad.example   # since 2020\n\njan@example.nl\npattern: *@*.worse.example"


def test_an_entry_comes_to_the_end_with_day_and_reason() -> None:
    text = added(LIST, " Piet@Partner.Example ", "sends invoices # often", TODAY)

    assert text == LIST + "\npiet@partner.example  # 2026-11-24: sends invoices # often\n"
    assert parse(text).literal == {"bad.example", "jan@example.nl", "piet@partner.example"}


@pytest.mark.parametrize("entry", ["bad.example", "BAD.example", "JAN@EXAMPLE.NL", "pattern:*@*.WORSE.example"])
def test_what_stands_there_is_not_added_again_and_can_be_taken_out(entry: str) -> None:
    with pytest.raises(NoEdit, match="stands there already"):
        added(LIST, entry, "x", TODAY)
    text = removed(LIST, entry, "paid", TODAY)
    assert text.count("\n") == LIST.count("\n")
    assert "# 2026-11-24, without " in text
    assert text.endswith(": paid") == entry.startswith("pattern")
    assert not problems(text, "list")
    with pytest.raises(NoEdit, match="does not stand there"):
        removed(text, entry, "x", TODAY)


@pytest.mark.parametrize(
    "entry", ["", "*.example", ".example", "nodots", "a b@c.example", "x.example # y", "a.example\nb.example", "pattern: example"]
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(NoEdit):
        added(LIST, entry, "x", TODAY)


def test_a_digest_among_addresses_is_refused() -> None:
    """By the policy as a whole, which holds no such list."""
    assert problems(added(LIST, "0" * 64, "x", TODAY), "list")
