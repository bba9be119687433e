"""The strict reader: where every octet belongs, what is decoded, where it stops."""

import base64
from itertools import pairwise

import pytest

from relay.model.finding import Finding, Kind
from relay.read import read
from relay.read.ambiguity import Ambiguous
from relay.read.limits import LimitReached, ReadLimits
from relay.read.part import Leaf, Reading, Role
from relay.read.strict import read_strictly

TOP = "From: jan@example.nl\nTo: piet@partner.example\nSubject: Hoi\nMIME-Version: 1.0\n"
LIMITS = ReadLimits()


def octets(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def reading(text: str, limits: ReadLimits = LIMITS) -> Reading:
    return read_strictly(octets(TOP + text), limits)


def only_leaf(text: str) -> Leaf:
    (leaf,) = reading(text).leaves
    return leaf


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(Ambiguous) as refused:
        reading(text)
    return refused.value.name, refused.value.part


NESTED = (
    'Content-Type: multipart/mixed; boundary="a b"\n\npreamble\n'
    "--a b\n\nBeste Piet,\n\n"
    "--a b\nContent-Type: multipart/alternative;\n boundary=c\n\n"
    "--c\nContent-Type: text/plain\n\nhoi\n--c\nContent-Type: text/html\n\n<p>hoi</p>\n--c--\ninner epilogue\n"
    "--a b\nContent-Type: message/rfc822\n\nSubject: x\n\nbinnen\n"
    "--a b--\nepilogue\n"
)


def test_a_message_without_mime_is_one_text() -> None:
    assert only_leaf("\nBeste Piet,\n") == Leaf("1", "text/plain", "", True, b"Beste Piet,\r\n")


def test_a_header_alone_is_one_empty_text() -> None:
    assert only_leaf("") == Leaf("1", "text/plain", "", True, b"")
    assert only_leaf("\n") == Leaf("1", "text/plain", "", True, b"")


def test_nested_parts_have_their_paths_types_and_octets() -> None:
    assert [(leaf.path, leaf.media_type, leaf.data) for leaf in reading(NESTED).leaves] == [
        ("preamble", "text/plain", b"preamble"),
        ("1", "text/plain", b"Beste Piet,\r\n"),
        ("2.1", "text/plain", b"hoi"),
        ("2.2", "text/html", b"<p>hoi</p>"),
        ("2.epilogue", "text/plain", b"inner epilogue"),
        ("3.message", "text/plain", b"binnen"),
        ("epilogue", "text/plain", b"epilogue\r\n"),
    ]


def test_headers_bodies_delimiters_preamble_and_epilogue_make_up_the_whole_message() -> None:
    data = octets(TOP + NESTED)
    spans = sorted(read_strictly(data, LIMITS).spans, key=lambda span: span.start)
    assert (spans[0].start, spans[-1].end) == (0, len(data))
    assert all(one.end == other.start for one, other in pairwise(spans))
    delimiters = [data[span.start : span.end] for span in spans if span.role is Role.DELIMITER]
    assert delimiters[0] == b"\r\n--a b\r\n"
    assert delimiters[-1] == b"\r\n--a b--\r\n"
    assert [data[span.start : span.end] for span in spans if span.role is Role.EPILOGUE] == [b"inner epilogue", b"epilogue\r\n"]


def test_preamble_and_epilogue_are_inspected_although_nobody_sees_them() -> None:
    shown = {leaf.path: leaf.data for leaf in reading(NESTED).leaves}
    assert shown["preamble"] == b"preamble"
    assert shown["epilogue"] == b"epilogue\r\n"


@pytest.mark.parametrize(
    ("encoding", "body", "decoded"),
    [
        ("7bit", "a=3Db\n", b"a=3Db\r\n"),
        ("8BIT", "één\n", "één\r\n".encode()),
        ("binary", "\0\x01", b"\0\x01"),
        ("base64", "QmVz\ndGU=\n\n", b"Beste"),
        ("Base64", "", b""),
        ("quoted-printable", "a=3Db=\nc =\nd=20\n", b"a=bc d \r\n"),
        ("Quoted-Printable", "=c3=A9", "é".encode()),
    ],
)
def test_all_five_transfer_encodings_are_decoded(encoding: str, body: str, decoded: bytes) -> None:
    assert only_leaf(f"Content-Transfer-Encoding: {encoding}\n\n{body}").data == decoded


@pytest.mark.parametrize("body", ["Q", "QQ", "QQ=", "QQ===", "QQ==QQ==", "QQ= =", "Q*Q=", "====", "=", "QUI=\n--", "QQ==\nhoi", "Qé=="])
def test_base64_that_needs_mending_is_ambiguous(body: str) -> None:
    assert refusal(f"Content-Transfer-Encoding: base64\n\n{body}\n") == ("transfer-encoding-malformed", "")


@pytest.mark.parametrize("body", ["=", "=3", "=GG", "é", "a \n", "a\t", "= \nb", "=3D=\n=", "\x00"])
def test_quoted_printable_that_needs_mending_is_ambiguous(body: str) -> None:
    assert refusal(f"Content-Transfer-Encoding: quoted-printable\n\n{body}") == ("transfer-encoding-malformed", "")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ('Content-Disposition: attachment; filename="rapport 1.pdf"', "rapport 1.pdf"),
        ("Content-Disposition: attachment; FileName=rapport.pdf", "rapport.pdf"),
        ("Content-Type: application/pdf; name=rapport.pdf", "rapport.pdf"),
        ("Content-Type: application/pdf; name=a.pdf\nContent-Disposition: inline; filename=a.pdf", "a.pdf"),
        ("Content-Disposition: attachment; filename*=UTF-8'nl'be%C3%ABdiging.pdf", "beëdiging.pdf"),
        ("Content-Disposition: attachment; filename*0=rap; filename*1=port.pdf", "rapport.pdf"),
        ("Content-Disposition: attachment; filename*0*=utf-8''%C3%AB; filename*1=n.pdf", "ën.pdf"),
        ('Content-Disposition: attachment; filename="=?utf-8?Q?be=C3=ABdiging.pdf?="', "beëdiging.pdf"),
        ('Content-Disposition: attachment; filename="beëdiging.pdf"', "beëdiging.pdf"),
        ("Content-Disposition: attachment;", ""),
    ],
)
def test_a_file_name_is_given_as_people_see_it(fields: str, name: str) -> None:
    assert only_leaf(f"{fields}\n\nx").name == name


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ("Content-Disposition: attachment; filename=a.txt; filename=b.exe", "content-type-syntax"),
        ("Content-Disposition: attachment; filename=a.txt; filename*=utf-8''b.exe", "name-unsound"),
        ("Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=b.exe", "name-conflict"),
        ("Content-Disposition: attachment; filename*=utf-7''b.exe", "name-unsound"),
        ("Content-Disposition: attachment; filename*=b.exe", "name-unsound"),
        ("Content-Disposition: attachment; filename*=utf-8''%FF", "name-unsound"),
        ("Content-Disposition: attachment; filename*=utf-8''a%0D%0Ab", "name-unsound"),
        ("Content-Disposition: attachment; filename*=utf-8''a%E2%80%AEfdp.exe", "name-unsound"),
        ("Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%AB", "name-unsound"),
        ("Content-Disposition: attachment; filename*1=b", "name-unsound"),
        ("Content-Disposition: attachment; filename*=utf-8''a; filename*1*=b", "name-unsound"),
        ('Content-Disposition: attachment; filename="=?utf-8?B?A?="', "name-unsound"),
        ('Content-Disposition: attachment; filename="=?utf-8?Q?a?=.exe"', "name-unsound"),
        ('Content-Disposition: attachment; filename="a\\"b"', "name-unsound"),
        ('Content-Disposition: attachment; filename="a;b"', "name-unsound"),
        ('Content-Disposition: attachment; filename="a\n b"', "name-unsound"),
        ('Content-Disposition: attachment; filename=" a"', "name-unsound"),
    ],
)
def test_a_file_name_that_readers_see_differently_is_ambiguous(fields: str, finding: str) -> None:
    assert refusal(f"{fields}\n\nx") == (finding, "")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Content-Type: text\n\n", "content-type-syntax"),
        ("Content-Type: text/plain; charset\n\n", "content-type-syntax"),
        ("Content-Type: text/plain (comment)\n\n", "content-type-syntax"),
        ("Content-Type: text/plain; charset=utf-7\n\n", "charset-unknown"),
        ("Content-Type: text/plain; charset=rot13\n\n", "charset-unknown"),
        ("Content-Type: multipart/mixed\n\n", "boundary-missing"),
        ('Content-Type: multipart/mixed; boundary=""\n\n', "boundary-missing"),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b--\n", "boundary-missing"),
        ("Content-Type: multipart/mixed; boundary*=us-ascii''b\n\n--b\n\nx\n--b--\n", "boundary-unsound"),
        (f"Content-Type: multipart/mixed; boundary={'b' * 71}\n\n--{'b' * 71}\n\nx\n--{'b' * 71}--\n", "boundary-unsound"),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", "boundary-unclosed"),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b \n\ny\n--b--\n", "boundary-look-alike"),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b\n\ny\n--b--\n", "boundary-look-alike"),
        ("Content-Transfer-Encoding: x-uuencode\n\n", "transfer-encoding-unknown"),
        ("Content-Transfer-Encoding:\n base64\n\n", "transfer-encoding-unknown"),
        ("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n", "transfer-encoding-on-container"),
        ("Content-Type: message/external-body; access-type=URL\n\n", "external-body"),
        ("Content-Type: message/global\n\nSubject: x\n\n", "message-type"),
        ("Content-Type: message/delivery-status\n\nA: b\nContent-Type: text/html\n\n", "message-type"),
        ("MIME-Version: 1.0\n\n", "mime-field-repeated"),
        ('\nhoi\nbegin 644 a.exe\n#``$"\n`\nend\n', "uuencoded"),
        ("X-A: \x07\n\n", "header-control"),
        ("X-A : b\n\n", "header-syntax"),
        ("no field\n\n", "header-syntax"),
    ],
)
def test_what_is_outside_the_common_subset_is_refused_by_name(text: str, finding: str) -> None:
    assert refusal(text)[0] == finding


def test_the_same_boundary_inside_its_own_multipart_is_ambiguous() -> None:
    inside = "Content-Type: multipart/mixed; boundary=long\n\n--long\nContent-Type: multipart/mixed; boundary=lo\n\n--lo\n\nx"
    inside += "\n--lo--\n--long--\n"
    assert refusal(inside) == ("boundary-nested", "1")


def test_the_ambiguous_part_is_named() -> None:
    text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/plain; charset=x-none\n\ny\n--b--\n"
    assert refusal(text) == ("charset-unknown", "2")


@pytest.mark.parametrize("end", ["\r", "\n"])
def test_a_lone_cr_or_lf_anywhere_is_ambiguous(end: str) -> None:
    with pytest.raises(Ambiguous, match="line-ends"):
        read_strictly(octets(TOP + "\nx") + end.encode() + b"y\r\n", LIMITS)


def test_a_delivery_report_is_shown_as_the_text_it_is() -> None:
    leaf = only_leaf("Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nAction: failed\n")
    assert leaf.data == b"Reporting-MTA: dns; mx.example\r\n\r\nAction: failed\r\n"


def nest(levels: int) -> str:
    return (
        "".join(f"Content-Type: multipart/mixed; boundary={level}x\n\n--{level}x\n" for level in range(levels))
        + "\nx"
        + "".join(f"\n--{level}x--" for level in reversed(range(levels)))
    )


@pytest.mark.parametrize(
    ("text", "limits", "name"),
    [
        (nest(4), ReadLimits(depth=3), "depth"),
        ("Content-Type: message/rfc822\n\n" * 30 + "\nx", LIMITS, "depth"),
        ("Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 10 + "--b--\n", ReadLimits(parts=10), "parts"),
        (f"X-A: {'a' * 3000}\n\nx", ReadLimits(header_size=2000), "header-size"),
        (f"Content-Type: message/rfc822\n\nX-A: {'a' * 3000}\n\nx", ReadLimits(header_size=2000), "header-size"),
    ],
)
def test_a_limit_that_is_met_is_undecidable_by_name_and_the_message_is_inspected_raw(text: str, limits: ReadLimits, name: str) -> None:
    with pytest.raises(LimitReached, match=name):
        reading(text, limits)
    result = read(octets(TOP + text), limits, "relay.example.nl")
    assert result.findings == (Finding(Kind.LIMIT, "reader", name),)
    assert result.raw
    assert result.header.from_addresses == ("jan@example.nl",)


def test_what_is_just_within_the_limits_is_read() -> None:
    assert len(reading(nest(3), ReadLimits(depth=3)).leaves) == 1
    assert len(reading("Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 9 + "--b--\n", ReadLimits(parts=10)).leaves) == 9


def test_content_that_a_limit_keeps_from_being_read_is_dug_out_and_inspected() -> None:
    hidden = base64.b64encode(b"SLUIS-TEST-SIGNATURE-0123456789abcdef-MALWARE").decode()
    text = nest(30).replace("\nx", f"Content-Transfer-Encoding: base64\n\n{hidden}", 1)
    leaves = read(octets(TOP + text), LIMITS, "relay.example.nl").leaves
    assert any(b"SLUIS-TEST-SIGNATURE" in leaf.data for leaf in leaves)
