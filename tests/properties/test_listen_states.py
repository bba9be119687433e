"""The state table: no way to DATA but through MAIL and RCPT, a reply for every command in every state, and codes that agree."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.listen import replies, states
from relay.listen.commands import Command, SyntaxProblem, decode_xtext, parse_hello, parse_line, parse_parameters, parse_path
from relay.listen.parameters import recipient_of, sender_of
from relay.listen.states import TABLE, State
from relay.model.errors import Refusal
from relay.model.reply import Reply
from relay.receive import replies as policy_replies
from tests.fakes.intake import FakeIntake
from tests.stages.listen.listening import Line, listening, run

VERBS = sorted(TABLE)
LIVE = [state for state in State if state is not State.CLOSED]
EVERY_REPLY = [value for module in (replies, policy_replies) for value in vars(module).values() if isinstance(value, Reply)]

# What a client may say, well formed or not, and the verb of it.
SAYINGS = st.sampled_from(
    """EHLO client.example|HELO client.example|LHLO x|MAIL FROM:<jan@example.nl>|MAIL FROM:<>|MAIL FROM:nobody
    |RCPT TO:<piet@partner.example>|RCPT TO:<unknown@partner.example>|RCPT TO:<>|DATA|DATA now|RSET|NOOP|HELP|VRFY jan|EXPN all
    |STARTTLS|AUTH PLAIN AGEAYg==|XCLIENT ADDR=192.0.2.7|XFORWARD ADDR=192.0.2.7|BURL x||\t|BDAT 0|BDAT 2\r\n|BDAT 0 LAST|BDAT 2 LAST\r\n"""
    # The two octets of a chunk are the CRLF behind it.
    .replace("\n    ", "").split("|")
)


@pytest.mark.parametrize(("state", "verb"), list(itertools.product(LIVE, [*VERBS, "", "BURL"])))
def test_every_command_has_an_answer_in_every_state(state: State, verb: str) -> None:
    refusal = states.refusal(state, verb)
    if refusal is None:
        assert states.after(state, verb) in State
    else:
        assert refusal.permanent


@settings(max_examples=300)
@given(st.lists(st.sampled_from(VERBS), max_size=40))
def test_no_sequence_of_commands_reaches_data_or_bdat_without_hello_mail_and_rcpt_in_this_order(verbs: list[str]) -> None:
    state, said = State.START, ""
    for verb in verbs:
        if state is State.CLOSED or states.refusal(state, verb) is not None:
            continue
        if verb in ("DATA", "BDAT", "BDAT LAST"):
            harmless = "NOOP|HELP|VRFY|EXPN"
            chunks = "" if verb == "DATA" else rf"(({harmless}|BDAT) )*"
            assert re.search(rf"(EHLO|HELO|LHLO) (\w+ )*MAIL (({harmless}|RCPT) )*RCPT (({harmless}|RCPT) )*{chunks}$", said)
        said += f"{verb} "
        state = states.after(state, verb)


def test_every_state_can_be_reached_and_left_and_quit() -> None:
    reached = {State.START}
    for _ in State:
        reached |= {after for ways in TABLE.values() for before, after in ways.items() if before in reached}
    assert reached == set(State)
    assert all(TABLE["QUIT"][state] is State.CLOSED for state in LIVE)
    assert not any(State.CLOSED in ways for ways in TABLE.values())


@settings(max_examples=60)
@given(st.lists(SAYINGS, min_size=1, max_size=25))
def test_the_session_answers_each_command_once_and_takes_a_message_only_after_mail_and_rcpt(sayings: list[str]) -> None:
    async def dialogue() -> None:
        road = FakeIntake(unknown=frozenset({"unknown@partner.example"}))
        async with listening(road, errors=1000) as door:
            line = await door.connect()
            mail = rcpt = taken = 0
            for saying in sayings:
                reply = await line.say(saying)
                assert well_formed(reply), reply
                verb = saying.partition(" ")[0]
                if verb in ("EHLO", "HELO", "RSET") and reply.startswith("250"):
                    mail = rcpt = 0
                elif verb == "MAIL" and reply.startswith("250"):
                    mail = 1
                elif verb == "RCPT" and reply.startswith("250"):
                    assert mail
                    rcpt += 1
                elif verb == "DATA" and reply.startswith("354"):
                    assert mail
                    assert rcpt
                    assert (await line.say(".")).startswith("250")
                    taken, mail, rcpt = taken + 1, 0, 0
                elif verb == "BDAT" and reply.startswith("250"):
                    assert mail
                    assert rcpt
                    assert ("queued" in reply) == ("LAST" in saying)
                    if "LAST" in saying:
                        taken, mail, rcpt = taken + 1, 0, 0
            assert len(road.messages) == taken
            await say_goodbye(line)

    run(dialogue())


async def say_goodbye(line: Line) -> None:
    """Exactly one reply was given to each command: the last one is that to QUIT."""
    assert await line.say("QUIT") == "221 2.0.0 Bye"
    assert await line.ended()
    await line.close()


def well_formed(reply: str) -> bool:
    """RFC 5321 §4.2 and RFC 2034 §4: one code on every line, and where an enhanced code stands, its class is the code's."""
    lines = reply.split("\r\n")
    code = lines[0][:3]
    if not re.fullmatch(r"[2-5][0-5][0-9]", code):
        return False
    for number, line in enumerate(lines, 1):
        mark = " " if number == len(lines) else "-"
        enhanced = re.match(r"([245])\.[0-9]{1,3}\.[0-9]{1,3} ", line[4:])
        if line[:4] != code + mark or (enhanced and enhanced[1] != code[0]):
            return False
    return all(32 <= ord(char) < 127 or char in "\r\n" for char in reply)


@pytest.mark.parametrize("reply", EVERY_REPLY, ids=lambda reply: str(reply)[:40])
def test_code_and_enhanced_code_of_every_reply_agree(reply: Reply) -> None:
    assert well_formed(reply.wire().decode().removesuffix("\r\n"))
    assert (reply.status is None) == (reply.code // 100 == 3)
    assert len(reply.wire()) <= 512  # RFC 5321 §4.5.3.1.5


@settings(max_examples=300)
@given(
    st.integers(min_value=200, max_value=599),
    st.integers(0, 7),
    st.integers(0, 30),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_no_reply_can_contradict_itself(code: int, subject: int, detail: int, text: str) -> None:
    reply = Reply(code, subject, detail, text)
    assert reply.status == f"{str(code)[0]}.{subject}.{detail}"
    assert reply.wire().startswith(f"{code} {reply.status} ".encode())


MARKS = st.sampled_from(["<", ">", "<>", "@", ".", '"', "\\", "[", "]", " ", "=", ",", ":", ";", "+41", "+4", "é", "\u202e", "a" * 70])
WORDS = st.sampled_from(["FROM:", "TO:", "IPv6:::1", "192.0.2.1", "jan", "1", "8BITMIME", "rfc822;", "utf-8;", "postmaster", "NEVER"])
NAMES = st.sampled_from(["SIZE=", "BODY=", "SMTPUTF8", "RET=", "ENVID=", "NOTIFY=", "ORCPT=", "AUTH="])
TEXTS = st.lists(MARKS | WORDS | NAMES | st.text(max_size=3), max_size=14).map("".join)


@settings(max_examples=800)
@given(TEXTS, st.sampled_from(["FROM", "TO"]), st.booleans(), st.booleans())
def test_any_path_is_parsed_or_one_of_our_errors(text: str, keyword: str, dsn: bool, smtputf8: bool) -> None:
    try:
        path, parameters = parse_path(f"{keyword}:{text}" if not text.startswith(keyword) else text, keyword)
        if keyword == "FROM":
            sender = sender_of(path, parameters, size_limit=1000, dsn=dsn, auth=dsn, esmtp=True)
            assert sender.path is None or sender.smtputf8 or sender.path.ascii
        elif path is not None:
            recipient = recipient_of(path, parameters, dsn=dsn, esmtp=True, smtputf8=smtputf8)
            assert smtputf8 or recipient.mailbox.ascii
    except (SyntaxProblem, Refusal):
        return
    if path is not None:
        assert str(path).isprintable()
        assert len(path.local.encode()) <= 64
        assert len(path.domain.encode()) <= 255


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_line_is_parsed_or_one_of_our_errors(line: bytes) -> None:
    try:
        command = parse_line(line)
    except SyntaxProblem:
        return
    assert isinstance(command, Command)
    assert re.fullmatch("[A-Z0-9]*", command.verb)
    assert not any(ord(char) < 32 or ord(char) == 127 for char in command.argument)


@settings(max_examples=300)
@given(TEXTS)
def test_any_hello_xtext_or_parameter_is_parsed_or_one_of_our_errors(text: str) -> None:
    for parse in (parse_hello, decode_xtext):
        try:
            found = parse(text)
        except SyntaxProblem:
            continue
        assert found.isascii()
        assert found.isprintable()
    try:
        parameters = parse_parameters(text)
    except SyntaxProblem:
        return
    assert all(re.fullmatch("[A-Z0-9-]+", name) for name in parameters)


def test_each_refusal_of_the_table_stands_in_a_dialogue() -> None:
    said = " ".join(path.read_text() for path in (Path(__file__).parents[1] / "dialogs").glob("*.txt"))
    for state, verb in itertools.product(LIVE, [*VERBS, "BURL"]):
        refusal = states.refusal(state, verb)
        assert refusal is None or f"S: {refusal}" in said
