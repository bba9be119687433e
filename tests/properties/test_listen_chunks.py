"""BDAT at any cut gives the bytes and the findings of DATA, and what is in a chunk is never a command."""

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.listen.commands import SyntaxProblem, parse_chunk
from relay.listen.data import ChunkDecoder, DataDecoder
from relay.model.client import Side
from relay.policy.models import Client, LineEnds
from tests.fakes.intake import FakeIntake
from tests.stages.listen.listening import listening, run

PIECES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b".", b"..", b"\0", b"a", b"bc", b"\r\n.\r\n", b"\n.\n", b"QUIT\r\n", b"\xc3\xab", b"x" * 70]
)
MESSAGES = st.lists(PIECES | st.binary(max_size=4), max_size=30).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=2000), max_size=12)
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def cut(message: bytes, cuts: list[int]) -> list[bytes]:
    """The message in as many pieces, some of them empty."""
    edges = [0, *sorted(place % (len(message) + 1) for place in cuts), len(message)]
    return [message[start:end] for start, end in itertools.pairwise(edges)]


def by_chunks(message: bytes, cuts: list[int], normalise: bool = False) -> tuple[bytes, bool]:
    """The bytes, and whether line ends were bad."""
    decoder = ChunkDecoder(normalise)
    found = b"".join(decoder.feed(piece) for piece in cut(message, cuts)) + decoder.finish()
    return found, decoder.bad_line_ends


def by_data(message: bytes, normalise: bool = False) -> tuple[bytes, bool]:
    """The same, stuffed and with its final dot."""
    decoder = DataDecoder(normalise)
    found = decoder.feed((b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
    assert decoder.finished
    return found, decoder.bad_line_ends


@settings(max_examples=500)
@given(MESSAGES, CUTS, st.booleans())
@example(b"a\r\0\nb\r\n", [3], True)
@example(b"a\r\n", [2], False)
def test_chunks_at_any_cut_give_the_bytes_and_the_findings_of_data(message: bytes, cuts: list[int], normalise: bool) -> None:
    complete = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    assert by_chunks(complete, cuts, normalise) == by_data(complete, normalise)


@settings(max_examples=300)
@given(MESSAGES, CUTS, st.booleans())
def test_any_cut_gives_the_bytes_and_the_findings_of_one_chunk(message: bytes, cuts: list[int], normalise: bool) -> None:
    assert by_chunks(message, cuts, normalise) == by_chunks(message, [], normalise)
    assert by_chunks(message, list(range(len(message))), normalise) == by_chunks(message, [], normalise)


@settings(max_examples=300)
@given(MESSAGES, CUTS)
def test_chunks_are_called_well_formed_only_if_every_line_end_is_crlf_and_there_is_no_nul(message: bytes, cuts: list[int]) -> None:
    found, bad = by_chunks(message, cuts)
    assert bad == (BARE.search(message) is not None)
    assert found == message or found == message + b"\r\n"
    assert not found or found.endswith(b"\r\n")
    normalised, told = by_chunks(message, cuts, normalise=True)
    assert not BARE.search(normalised)
    assert told == bad


@settings(max_examples=200)
@given(MESSAGES, CUTS)
def test_the_decoder_holds_back_one_byte_at_most(message: bytes, cuts: list[int]) -> None:
    decoder = ChunkDecoder()
    for piece in cut(message, cuts):
        decoder.feed(piece)
        assert decoder._held in (b"", b"\r")


@settings(max_examples=30)
@given(MESSAGES, CUTS, st.sampled_from(LineEnds), st.booleans())
def test_a_session_takes_chunks_as_they_are_sent_and_reads_no_command_in_them(
    message: bytes, cuts: list[int], line_ends: LineEnds, together: bool
) -> None:
    async def dialogue() -> None:
        road = FakeIntake(client=Client(name="everybody", side=Side.INSIDE, require_tls=False, line_ends=line_ends))
        async with listening(road, commands_without_mail=1000) as door:
            line = await door.connect()
            chunks = cut(message, cuts)
            said = [f"BDAT {len(chunk)}\r\n".encode() + chunk for chunk in chunks[:-1]]
            said.append(f"BDAT {len(chunks[-1])} LAST\r\n".encode() + chunks[-1])
            head = [b"EHLO client.example\r\n", b"MAIL FROM:<jan@example.nl>\r\n", b"RCPT TO:<piet@partner.example>\r\n"]
            assert await line.say(head[0].decode().rstrip())
            if together:
                line.send(b"".join([*head[1:], *said]))
            for command in [*head[1:], *said[:-1]]:
                if not together:
                    line.send(command)
                assert (await line.hear()).startswith("250 ")
            if not together:
                line.send(said[-1])
            refused = line_ends is LineEnds.REFUSE and BARE.search(message)
            assert (await line.hear()).startswith("550 5.6.0" if refused else "250 2.0.0 Ok: queued as")
            assert await line.say("QUIT") == "221 2.0.0 Bye"
            await line.close()
        [taken] = road.messages
        assert taken.raw == by_chunks(message, [], normalise=line_ends is LineEnds.NORMALISE)[0]
        assert (taken.refused is not None) == bool(refused)

    run(dialogue())


@settings(max_examples=300)
@given(st.text(st.sampled_from("0123456789 LASTlast-+x\u0663"), max_size=24))
@example("1 LAST")
@example("1_0")
def test_a_chunk_is_digits_and_perhaps_last_or_one_of_our_errors(text: str) -> None:
    try:
        size, last = parse_chunk(text)
    except SyntaxProblem:
        assert not re.fullmatch(r"[0-9]{1,20}( LAST)?", text)
        return
    assert text.upper() == text.split(" ")[0] + (" LAST" if last else "")
    assert size == int(text.split(" ")[0])


@pytest.mark.parametrize("argument", ["", "LAST", "-1", "+1", " 1", "1 ", "1  LAST", "1 LAST now", "0x10", "1" * 21])
def test_a_size_that_could_be_read_in_two_ways_is_none(argument: str) -> None:
    with pytest.raises(SyntaxProblem):
        parse_chunk(argument)
