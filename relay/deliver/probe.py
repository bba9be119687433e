"""Asks a next hop whether it would take a recipient: MAIL FROM:<>, RCPT TO, and nothing else."""

from relay.deliver.answer import Answer, found
from relay.deliver.channel import command_line
from relay.deliver.connection import Connection
from relay.deliver.parameters import NO_UTF8, rcpt_line
from relay.model.envelope import Recipient
from relay.model.reply import Reply

TEXT = 200


async def ask(connection: Connection, recipient: Recipient, timeout: float) -> Answer:
    """The next hop's answer to RCPT TO. Raises Lost."""
    await connection.reset(timeout)
    connection.transactions += 1
    utf8 = not recipient.mailbox.ascii
    if utf8 and not connection.offers("smtputf8"):
        return NO_UTF8
    connection.unfinished = True
    await connection.channel.send(command_line(b"MAIL FROM:<>" + (b" SMTPUTF8" if utf8 else b"")), timeout)
    mail = await connection.first_reply(timeout)
    if not mail.positive:  # says nothing about the recipient
        return found("4.4.0", f"the next hop refuses the null reverse-path: {mail}")
    return await connection.channel.command(rcpt_line(Recipient(recipient.mailbox), connection), timeout)


def reply_of(answer: Answer) -> Reply:
    """As a Reply. A finding of our own gets the plain code of its class; a reply without enhanced status code keeps X.0.0 away, so that
    whoever asks does not take it for a statement about the mailbox or about anything else."""
    code = answer.code or {"2": 250, "4": 451, "5": 550}[answer.status[0]]
    if 300 <= code < 400:
        code = 451
    _, subject, detail = (int(part) for part in answer.status.split("."))
    text = "".join(char if " " <= char <= "~" else "?" for char in answer.text[:TEXT])
    if subject == detail == 0:
        return Reply(code, None, None, text)
    return Reply(code, subject, detail, text)
