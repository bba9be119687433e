"""docs/record.md is what the code says, and the code says all there is."""

from pathlib import Path

import pytest
from sqlmodel import SQLModel

from relay.audit import reference
from relay.audit.event import make_event

PAGE = Path(__file__).parents[3] / "docs" / "record.md"


def test_the_page_on_the_record_is_made_from_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.document(), "python -m relay.audit.reference > docs/record.md"


def test_the_page_names_every_table() -> None:
    assert {model.__tablename__ for model in reference.MODELS} == set(SQLModel.metadata.tables)


def test_an_event_of_a_kind_that_the_page_does_not_name_can_not_be_made() -> None:
    with pytest.raises(ValueError, match="no such kind of event: other"):
        make_event("other", object_="it", result="done", origin="test", actor="somebody", time_us=1, reason="why")
