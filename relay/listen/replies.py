"""Every reply of the dialogue, as constants with their meaning (RFC 5321 §4.2, RFC 3463, RFC 2034). `python -m relay.listen.replies`
prints docs/replies.md.
"""

from relay.model.reply import Reply

OK = Reply(250, 0, 0, "Ok")
"""RSET and NOOP were done."""
SENDER_OK = Reply(250, 1, 0, "Sender ok")
"""The client may send as this address."""
RECIPIENT_OK = Reply(250, 1, 5, "Recipient ok")
"""The recipient is taken into the transaction; nothing is decided on the content yet."""
CHUNK_OK = Reply(250, 0, 0, "Chunk ok")
"""A BDAT chunk came in, and the message is not complete yet (RFC 3030 §2)."""
GO_AHEAD = Reply(354, None, None, "End data with <CR><LF>.<CR><LF>")
"""The client may send the message."""
READY_FOR_TLS = Reply(220, 0, 0, "Ready to start TLS")
"""The client may begin the TLS handshake. What it said before is forgotten (RFC 3207 §4.2)."""
BYE = Reply(221, 0, 0, "Bye")
"""The answer to QUIT."""
HELP = Reply(214, 0, 0, "See RFC 5321")
"""The answer to HELP."""
VERIFY = Reply(252, 5, 0, "Not verified here; send to it to know")
"""The answer to VRFY: addresses are not given away (RFC 5321 §3.5.3)."""
AUTHENTICATED = Reply(235, 7, 0, "Authentication successful")
"""Login and password were right."""
AUTH_CONTINUE = Reply(334, None, None, "")
"""AUTH PLAIN without an initial response: the client sends it now."""
AUTH_USERNAME = Reply(334, None, None, "VXNlcm5hbWU6")  # base64 of "Username:" (draft-murchison-sasl-login)
"""AUTH LOGIN asks for the login."""
AUTH_PASSWORD = Reply(334, None, None, "UGFzc3dvcmQ6")
"""AUTH LOGIN asks for the password."""
FORWARDED_OK = Reply(250, 0, 0, "Noted")
"""The XFORWARD attributes were noted for the record; they change no identity."""

STOPPING = Reply(421, 3, 2, "Closing down, try again later")
"""The relay stops, or this listener left the settings."""
TIMEOUT = Reply(421, 4, 2, "Timeout, closing connection")
"""The client said nothing within `command_timeout` or `data_timeout`, or the session lasted longer than `session_timeout`."""
TOO_MANY_ERRORS = Reply(421, 7, 0, "Too many errors, closing connection")
"""The session has as many refusals as `errors` of the listener."""
TOO_MANY_COMMANDS = Reply(421, 7, 0, "Too many commands without mail, closing connection")
"""The session has more commands that bring no mail than `commands_without_mail` of the listener."""
TOO_MANY_CONNECTIONS = Reply(421, 7, 0, "Too many connections, try again later")
"""The listener, or this address on it, has as many connections as the settings allow."""
EARLY_TALKER = Reply(554, 5, 0, "Commands before the greeting, closing connection")
"""The client spoke before the greeting (RFC 5321 §3.1): a web browser or a bad robot."""
PIPELINING_ABUSE = Reply(503, 5, 1, "Commands or data may not be sent ahead of this reply, closing connection")
"""Something was sent behind a command that must be the last of its group (RFC 2920 §3.1); it was not read."""
FAULT = Reply(451, 3, 0, "Local fault, try again later")
"""An error of ours, logged; the client keeps the message."""
BUSY = Reply(451, 3, 2, "Too busy, try again later")
"""More waits for inspection or for the record than could be answered in time (`inspection.patience`); told before the bytes come in."""
DISK = Reply(452, 3, 1, "Not enough storage now, try again later")
"""The spool could not take the message."""

BARE_LINE_FEED = Reply(521, 5, 2, "A command line ends in CRLF, not in a bare LF, closing connection")
"""A command line ended in LF without CR; what follows it was not read."""
UNKNOWN_COMMAND = Reply(500, 5, 2, "Command not recognised")
"""There is no such command here."""
BAD_LINE = Reply(500, 5, 2, "A command line ends in CRLF and has no other CR, LF, NUL or control character")
"""The command line has a control character, or bytes that are no UTF-8."""
LINE_TOO_LONG = Reply(500, 5, 2, "Command line too long")
"""The command line is longer than 2048 octets; it was not read."""
NOT_IMPLEMENTED = Reply(502, 5, 1, "Command not implemented")
"""EXPN, or STARTTLS on a listener without a certificate."""
BAD_SEQUENCE = Reply(503, 5, 1, "Bad sequence of commands")
"""The command may not come in this state."""
HELLO_FIRST = Reply(503, 5, 1, "Send EHLO first")
"""The client did not introduce itself with EHLO, HELO or LHLO, or has to do it again."""
NO_ARGUMENTS = Reply(501, 5, 4, "This command takes no argument")
"""DATA, RSET, QUIT and STARTTLS stand alone."""
BAD_CHUNK = Reply(501, 5, 4, "BDAT takes a number of octets, and LAST or nothing, closing connection")
"""BDAT without a size that can be understood; nobody knows where the next command begins, so nothing more was read."""
BAD_HELLO = Reply(501, 5, 4, "A host name or address literal is needed")
"""The name in EHLO, HELO or LHLO is none."""
BAD_SENDER = Reply(501, 1, 7, "Bad sender address syntax")
"""What follows MAIL FROM: is no reverse-path (RFC 5321 §4.1.2), or a parameter is not of the grammar."""
BAD_RECIPIENT = Reply(501, 1, 3, "Bad recipient address syntax")
"""What follows RCPT TO: is no forward-path, or a parameter is not of the grammar."""
BAD_PARAMETER = Reply(501, 5, 4, "Bad parameter syntax or value")
"""A parameter that is offered has a value that it can't have."""
UNKNOWN_PARAMETER = Reply(555, 5, 4, "Parameter not recognised or not offered here")
"""A parameter that is not offered here, or any after HELO (RFC 5321 §4.1.1.11)."""
NEEDS_SMTPUTF8 = Reply(553, 6, 7, "A non-ASCII address needs SMTPUTF8")
"""A non-ASCII address in a transaction without SMTPUTF8 (RFC 6531 §3.5)."""
TOO_MANY_RECIPIENTS = Reply(452, 5, 3, "Too many recipients")
"""The transaction has as many recipients as `recipients` of the listener; the client sends to the others later."""
NO_RECIPIENTS = Reply(554, 5, 1, "No valid recipients")
"""DATA or BDAT while no recipient was taken."""
TOO_LARGE = Reply(552, 3, 4, "Message size exceeds the limit")
"""The SIZE that was declared, or the message itself, is over `message_size` of the listener."""
BAD_LINE_ENDS = Reply(550, 6, 0, "The message has bare CR, bare LF or NUL")
"""Refused as a whole: such messages are read in two ways (SMTP smuggling). A client may be marked `line_ends: normalise`."""
TLS_ACTIVE = Reply(503, 5, 1, "TLS is active already")
"""STARTTLS inside TLS."""
TLS_REQUIRED = Reply(530, 7, 0, "Must issue a STARTTLS command first")
"""The listener takes no mail in clear text."""
AUTH_NEEDS_TLS = Reply(538, 7, 11, "Encryption is required for authentication")
"""No password is taken in clear text (RFC 4954 §4)."""
AUTH_UNAVAILABLE = Reply(503, 5, 1, "Authentication is not offered here, or done already")
"""The listener has no logins, or the session has one already."""
AUTH_MECHANISM = Reply(504, 5, 4, "Mechanism not supported")
"""PLAIN and LOGIN are the mechanisms there are."""
AUTH_CANCELLED = Reply(501, 7, 0, "Authentication cancelled")
"""The client answered `*`."""
AUTH_SYNTAX = Reply(501, 5, 2, "Bad authentication data")
"""The response is no base64 of a login and a password."""
AUTH_BUSY = Reply(454, 7, 0, "Temporary authentication failure, try again later")
"""Too many passwords are being checked at this moment; this one was not looked at."""
NOT_FROM_HERE = Reply(550, 7, 1, "This command may not be used from here")
"""XCLIENT and XFORWARD are for the networks of the settings."""


if __name__ == "__main__":
    from relay.listen.replies_page import page

    print(page(), end="")  # noqa: T201 - the output is the document
