"""The pages on policy and settings say what the code does."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from relay.policy import models, reference
from relay.settings import reference as settings_reference
from relay.settings.models import Settings

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_on_policy_is_current() -> None:
    assert (DOCS / "policy.md").read_text(encoding="utf-8") == reference.document(), "python -m relay.policy.reference > docs/policy.md"


def test_the_page_on_settings_is_current() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert page == settings_reference.document(), "python -m relay.settings.reference > docs/settings.md"


SHAPES = [shape for _, _, shapes in reference.FILES for shape in shapes] + [shape for _, shape in settings_reference.TABLES] + [Settings]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_key_says_what_it_means(shape: type[BaseModel]) -> None:
    assert [name for name, field in shape.model_fields.items() if not field.description] == []


def test_every_list_of_a_policy_is_on_the_page() -> None:
    on_page = {shape.__name__ for _, _, shapes in reference.FILES for shape in shapes}
    entries = {name for name in models.__all__ if isinstance(getattr(models, name), type) and issubclass(getattr(models, name), BaseModel)}

    assert entries - on_page == {"Policy", "Strict"}
