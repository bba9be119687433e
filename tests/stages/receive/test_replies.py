"""What a client hears of policy names no rule, and its code contradicts itself nowhere."""

import pytest

from relay.model.reply import Reply
from relay.receive import replies

ALL = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


@pytest.mark.parametrize("name", ALL)
def test_every_refusal_is_a_constant_with_an_enhanced_status_code(name: str) -> None:
    reply = ALL[name]

    assert reply.code >= 400
    assert reply.status is not None
    assert reply.status[0] == str(reply.code)[0]
    assert "{" not in reply.text
    assert "%" not in reply.text
