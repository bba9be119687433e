"""Whatever the shape of a well-formed message: the strict reader finds exactly its parts, every octet has its place, and others agree."""

from hypothesis import given, settings

from relay.read import read
from relay.read.lenient import differ, with_fast_parser, with_stdlib
from relay.read.limits import ReadLimits
from relay.read.part import Leaf, Role, Span
from relay.read.strict import read_strictly
from tests.stages.read.messages import Part, messages

LIMITS = ReadLimits()
bounded = settings(max_examples=200)


def shown(leaves: list[Leaf]) -> list[Leaf]:
    return [leaf for leaf in leaves if leaf.path.rpartition(".")[2] not in (Role.PREAMBLE, Role.EPILOGUE)]


@bounded
@given(messages())
def test_the_strict_reader_finds_exactly_the_parts_that_were_put_in(message: Part) -> None:
    found = shown(read_strictly(message.raw, LIMITS).leaves)
    assert [(leaf.media_type, leaf.name, leaf.data) for leaf in found] == list(message.leaves)


@bounded
@given(messages())
def test_every_octet_belongs_to_exactly_one_header_body_delimiter_preamble_or_epilogue(message: Part) -> None:
    spans = sorted(read_strictly(message.raw, LIMITS).spans, key=lambda span: span.start)
    assert b"".join(message.raw[span.start : span.end] for span in spans) == message.raw
    assert all(isinstance(span, Span) and span.start < span.end for span in spans)


@bounded
@given(messages())
def test_both_lenient_readers_find_the_same_parts_as_the_strict_one(message: Part) -> None:
    strict = read_strictly(message.raw, LIMITS).leaves
    for reader in (with_stdlib, with_fast_parser):
        assert not differ(strict, reader(message.raw, LIMITS)), reader.__name__


@bounded
@given(messages())
def test_a_well_formed_message_has_no_finding_and_need_not_be_inspected_raw(message: Part) -> None:
    result = read(message.raw, LIMITS, "relay.example.nl")
    assert (result.findings, result.raw) == ((), False)
    assert result.header.from_addresses == ("jan@example.nl",)
