"""docs/replies.md is what the code says."""

import subprocess
import sys
from pathlib import Path

import pytest

from relay.listen import replies
from relay.listen.replies_page import page
from relay.model.reply import Reply
from relay.receive import replies as policy_replies

ROOT = Path(__file__).parents[3]
REPLIES = [value for module in (replies, policy_replies) for value in vars(module).values() if isinstance(value, Reply)]


def test_the_page_is_current() -> None:
    """Where it is not: `python -m relay.listen.replies > docs/replies.md`."""
    assert (ROOT / "docs" / "replies.md").read_text() == page()


def test_the_command_prints_the_page() -> None:
    done = subprocess.run([sys.executable, "-m", "relay.listen.replies"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == page()


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: str(reply)[:40])
def test_every_reply_stands_on_the_page_with_code_and_text(reply: Reply) -> None:
    status = f" {reply.status}" if reply.status else ""
    assert f"| `{reply.code}{status}` | {reply.text.replace('<', '&lt;') or '(empty)'} | " in page()


def test_what_the_road_says_stands_on_the_page() -> None:
    for text in ("Ok: queued as ID COMMITMENT", "Refused by policy; ID", "Too many hops; ID", "try again later; ID"):
        assert text in page()
