"""The ways in which two readers could read a message in two ways; each is a finding by its name."""

AMBIGUITIES = {
    "line-ends": "a CR or LF that stands alone",
    "header-syntax": "a header line that is no field, a space before the colon, or a continuation of white space only",
    "header-control": "a control character in a header",
    "header-eight-bit": "bytes that are no UTF-8 in a field that structure or sender depend on",
    "header-unterminated": "no empty line between header and body, or a part without any line",
    "mime-field-repeated": "a Content- or MIME-Version field that stands twice in one header",
    "mime-version-unknown": "a MIME-Version that is not 1.0",
    "content-type-syntax": "a Content-Type or -Disposition outside the grammar, with a comment, a quoted pair, or a parameter twice",
    "transfer-encoding-unknown": "a Content-Transfer-Encoding that is none of the five, or has a fold or white space behind it",
    "transfer-encoding-malformed": "base64 or quoted-printable that decoders repair differently",
    "transfer-encoding-on-container": "base64 or quoted-printable on a multipart or a message",
    "charset-unknown": "a charset that not every reader knows",
    "boundary-missing": "a multipart without boundary, or one that never occurs",
    "boundary-unsound": "a boundary outside the grammar of RFC 2046, or given in pieces (RFC 2231)",
    "boundary-unclosed": "a multipart without its closing delimiter",
    "boundary-look-alike": "a line that begins like a delimiter and goes on differently, or a delimiter behind the closing one",
    "boundary-nested": "the same boundary, or the beginning of one, inside its own multipart",
    "name-conflict": "two file names for one part that differ",
    "name-unsound": "a file name encoded wrongly or in two ways, with a quoted pair, a fold or a control character, or space around it",
    "external-body": "a message/external-body or message/partial: the content is elsewhere",
    "message-type": "a message type that some readers open and others show as it is",
    "uuencoded": "text with an attachment in it that some readers take out",
    "readers-differ": "the lenient readers find different parts",
    "reader-failed": "a lenient reader could not read the message at all",
}


class Ambiguous(Exception):
    """The message is outside the subset in which every reader agrees; `name` is one of AMBIGUITIES."""

    def __init__(self, name: str, part: str = "") -> None:
        assert name in AMBIGUITIES, name
        super().__init__(name)
        self.name = name
        self.part = part
