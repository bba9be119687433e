"""Every reply of the dialogue, as constants (RFC 5321 §4.2, RFC 3463, RFC 2034). `python -m relay.listen.replies` prints
docs/replies.md.
"""

from relay.model.reply import Reply
from relay.receive import replies as policy_replies

OK = Reply(250, 0, 0, "Ok")
SENDER_OK = Reply(250, 1, 0, "Sender ok")
RECIPIENT_OK = Reply(250, 1, 5, "Recipient ok")
GO_AHEAD = Reply(354, None, None, "End data with <CR><LF>.<CR><LF>")
READY_FOR_TLS = Reply(220, 0, 0, "Ready to start TLS")
BYE = Reply(221, 0, 0, "Bye")
HELP = Reply(214, 0, 0, "See RFC 5321")
VERIFY = Reply(252, 5, 0, "Not verified here; send to it to know")
AUTHENTICATED = Reply(235, 7, 0, "Authentication successful")
AUTH_CONTINUE = Reply(334, None, None, "")
AUTH_USERNAME = Reply(334, None, None, "VXNlcm5hbWU6")  # base64 of "Username:" (draft-murchison-sasl-login)
AUTH_PASSWORD = Reply(334, None, None, "UGFzc3dvcmQ6")
FORWARDED_OK = Reply(250, 0, 0, "Noted")

STOPPING = Reply(421, 3, 2, "Closing down, try again later")
TIMEOUT = Reply(421, 4, 2, "Timeout, closing connection")
TOO_MANY_ERRORS = Reply(421, 7, 0, "Too many errors, closing connection")
TOO_MANY_COMMANDS = Reply(421, 7, 0, "Too many commands without mail, closing connection")
TOO_MANY_CONNECTIONS = Reply(421, 7, 0, "Too many connections, try again later")
EARLY_TALKER = Reply(554, 5, 0, "Commands before the greeting, closing connection")
PIPELINING_ABUSE = Reply(503, 5, 1, "Commands or data may not be sent ahead of this reply, closing connection")
FAULT = Reply(451, 3, 0, "Local fault, try again later")
DISK = Reply(452, 3, 1, "Not enough storage now, try again later")

UNKNOWN_COMMAND = Reply(500, 5, 2, "Command not recognised")
BAD_LINE = Reply(500, 5, 2, "A command line ends in CRLF and has no other CR, LF, NUL or control character")
LINE_TOO_LONG = Reply(500, 5, 2, "Command line too long")
NOT_IMPLEMENTED = Reply(502, 5, 1, "Command not implemented")
BAD_SEQUENCE = Reply(503, 5, 1, "Bad sequence of commands")
HELLO_FIRST = Reply(503, 5, 1, "Send EHLO first")
NO_ARGUMENTS = Reply(501, 5, 4, "This command takes no argument")
BAD_HELLO = Reply(501, 5, 4, "A host name or address literal is needed")
BAD_SENDER = Reply(501, 1, 7, "Bad sender address syntax")
BAD_RECIPIENT = Reply(501, 1, 3, "Bad recipient address syntax")
BAD_PARAMETER = Reply(501, 5, 4, "Bad parameter syntax or value")
UNKNOWN_PARAMETER = Reply(555, 5, 4, "Parameter not recognised or not offered here")
NEEDS_SMTPUTF8 = Reply(553, 6, 7, "A non-ASCII address needs SMTPUTF8")
TOO_MANY_RECIPIENTS = Reply(452, 5, 3, "Too many recipients")
NO_RECIPIENTS = Reply(554, 5, 1, "No valid recipients")
TOO_LARGE = Reply(552, 3, 4, "Message size exceeds the limit")
BAD_LINE_ENDS = Reply(550, 6, 0, "The message has bare CR, bare LF or NUL")
TLS_ACTIVE = Reply(503, 5, 1, "TLS is active already")
TLS_REQUIRED = Reply(530, 7, 0, "Must issue a STARTTLS command first")
AUTH_NEEDS_TLS = Reply(538, 7, 11, "Encryption is required for authentication")
AUTH_UNAVAILABLE = Reply(503, 5, 1, "Authentication is not offered here, or done already")
AUTH_MECHANISM = Reply(504, 5, 4, "Mechanism not supported")
AUTH_CANCELLED = Reply(501, 7, 0, "Authentication cancelled")
AUTH_SYNTAX = Reply(501, 5, 2, "Bad authentication data")
AUTH_FAILED = Reply(535, 7, 8, "Authentication failed")
NOT_FROM_HERE = Reply(550, 7, 1, "This command may not be used from here")


def document() -> str:
    """The table of docs/replies.md."""
    lines = [
        "# Replies",
        "",
        "What a client can hear, generated from the code (`python -m relay.listen.replies`). Texts are constants; after DATA",
        "the message id is added, and never a rule or an internal error. 250 after DATA names the message id and the",
        "commitment of its accepted event.",
        "",
        "| reply | text |",
        "|---|---|",
    ]
    found = {value for module in (globals(), vars(policy_replies)) for value in module.values() if isinstance(value, Reply)}
    for reply in sorted(found, key=lambda item: (item.code, item.subject or 0, item.detail or 0, item.text)):
        lines.append(f"| `{reply.code}{f' {reply.status}' if reply.status else ''}` | {reply.text.replace('<', '&lt;') or '(empty)'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - the output is the document
