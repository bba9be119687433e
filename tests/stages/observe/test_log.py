"""Logs: one JSON object a line, whatever a value holds; secrets never; and for each delivery a line that greps like Postfix's."""

import asyncio
import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.observe.log import JsonFormatter, TurnHandler, configure, delivery_line

HOSTILE = "a\x1b[2J\r\n\x00\x85\u2028\u202e\u2066\x9b\x7f\ud800\u200b b"
FORMATTER = JsonFormatter()


def formatted(event: str = "something", exc_info: Any = None, **fields: Any) -> tuple[str, dict[str, Any]]:
    """The line, and what it says."""
    record = logging.LogRecord("sluis.test", logging.INFO, __file__, 1, event, (), exc_info)
    record.fields = fields
    line = FORMATTER.format(record)
    return line, json.loads(line)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=5), inner, max_size=3) | st.frozensets(st.text())
    ),
    max_leaves=8,
)


@given(ANYTHING, st.text(st.characters()))
def test_a_record_is_one_line_of_printable_json_whatever_a_value_holds(value: Any, message: str) -> None:
    line, said = formatted(message, field=value)
    assert line.isprintable()
    assert {"time", "level", "logger", "event", "field"} <= set(said)
    line.encode("utf-8")
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON (RFC 8259 §6)"))


def test_what_could_steer_a_terminal_or_turn_a_line_around_is_escaped() -> None:
    line, said = formatted(HOSTILE, helo=HOSTILE, listed=[HOSTILE], nested={"helo": HOSTILE})
    for value in (said["event"], said["helo"], said["listed"][0], said["nested"]["helo"]):
        assert value == "a\\u001b[2J\\u000d\\u000a\\u0000\\u0085\\u2028\\u202e\\u2066\\u009b\\u007f\\ud800\\u200b b"
    assert line.isprintable()


def test_a_long_value_is_cut() -> None:
    _, said = formatted("x" * 5000, field="y" * 5000)
    assert (len(said["event"]), len(said["field"])) == (501, 1001)


@pytest.mark.parametrize("name", ["password", "smtp_password", "client_secret", "KEY", "private_key", "api_keys"])
def test_a_secret_is_never_logged(name: str) -> None:
    for fields in ({name: "hunter2"}, {"settings": {name: "hunter2"}}, {"settings": [{"inner": {name: ["hunter2"]}}]}):
        line, _ = formatted("configured", **fields)
        assert "hunter2" not in line
        assert "(not logged)" in line


def test_a_traceback_is_told_in_lines_of_a_list() -> None:
    def fail() -> None:
        raise ValueError(HOSTILE)

    try:
        fail()
    except ValueError:
        line, said = formatted("a bug", exc_info=sys.exc_info())
    assert line.isprintable()
    assert said["traceback"][0].startswith("Traceback")
    assert "ValueError" in said["traceback"][-1]


@pytest.mark.parametrize(
    ("state", "status"), [("delivered", "sent"), ("ready", "deferred"), ("bounced", "bounced"), ("undeliverable", "undeliverable")]
)
@pytest.mark.parametrize("sender", ["jan@example.nl", ""])
def test_a_delivery_has_a_line_as_people_have_grepped_for_thirty_years(state: str, status: str, sender: str) -> None:
    fields = {
        "message": "0199f0000000700080000000000000aa",
        "to": "clerk@court.example",
        "from": sender,
        "received_us": 1_795_460_000_000_000,
        "relay": "mx.court.example[192.0.2.1]:25",
        "dsn": "2.0.0",
        "state": state,
        "reply": "250 2.0.0 Ok: queued as 4F",
    }
    assert delivery_line(fields, 1_795_460_002.5) == (
        f"0199f0000000700080000000000000aa: to=<clerk@court.example>, from=<{sender}>, relay=mx.court.example[192.0.2.1]:25, "
        f"delay=2.50, dsn=2.0.0, status={status} (250 2.0.0 Ok: queued as 4F)"
    )
    assert ", delay=0.00, " in delivery_line(fields, 1_795_459_000.0), "a clock that was set back"
    just_now = {**fields, "received_us": time.time_ns() // 1000 - 5_000_000}
    assert re.search(r", delay=[5-9]\.\d\d, ", formatted("delivery", **just_now)[1]["line"]), "received five seconds before it is logged"
    assert "line" not in formatted("something else", **fields)[1]


def test_a_next_hop_can_not_forge_a_second_line() -> None:
    line = delivery_line(
        {"message": "m", "to": "a", "relay": "r", "dsn": "2.0.0", "state": "delivered", "reply": "250 ok\r\nm: to=<b>, status=sent"}, 0.0
    )
    assert line.isprintable()
    assert line.count("\n") == 0


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Puts the loggers of the process back."""
    root = logging.getLogger()
    names = ("sluis", "mail.log")
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in names}
    level = root.level
    switches = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
    before = {name: getattr(logging, name) for name in switches}
    yield
    for name, value in before.items():
        setattr(logging, name, value)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(levels[name])


@pytest.mark.usefixtures("root_logger")
def test_libraries_speak_from_warning_on_and_no_dialogue_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    configure("info")
    logging.getLogger("sluis.test").debug("too much")
    logging.getLogger("sluis.test").info("ours")
    logging.getLogger("mail.log").warning("AUTH PLAIN c2VjcmV0")
    logging.getLogger("asyncio").info("theirs")
    logging.getLogger("asyncio").warning("a warning of theirs")
    assert [json.loads(line)["event"] for line in heard.getvalue().splitlines()] == ["ours", "a warning of theirs"]


class Written(io.StringIO):
    """What was written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, text: str) -> int:
        self.calls.append(text)
        return len(text)


def handled() -> tuple[TurnHandler, Written]:
    stream = Written()
    handler = TurnHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler, stream


def say(handler: logging.Handler, text: str, level: int = logging.INFO) -> None:
    handler.handle(logging.LogRecord("sluis.test", level, __file__, 1, text, (), None))


def test_lines_of_one_turn_of_the_loop_are_written_together_in_their_order() -> None:
    async def scene() -> None:
        handler, stream = handled()
        say(handler, "one")
        say(handler, "two")
        assert stream.calls == []
        await asyncio.sleep(0)
        assert stream.calls == ["one\ntwo\n"]
        say(handler, "three")
        await asyncio.sleep(0)
        assert stream.calls == ["one\ntwo\n", "three\n"]

    asyncio.run(scene())


def test_a_warning_waits_for_nothing_and_overtakes_nothing() -> None:
    async def scene() -> None:
        handler, stream = handled()
        say(handler, "one")
        say(handler, "two", logging.WARNING)
        assert stream.calls == ["one\ntwo\n"]

    asyncio.run(scene())


def test_what_a_thread_says_and_what_is_left_at_the_end_is_written_at_once() -> None:
    async def scene() -> None:
        handler, stream = handled()
        await asyncio.to_thread(say, handler, "one")
        assert stream.calls == ["one\n"]
        say(handler, "two")
        handler.flush()  # as logging.shutdown does at the end of the process
        assert stream.calls == ["one\n", "two\n"]

    asyncio.run(scene())
