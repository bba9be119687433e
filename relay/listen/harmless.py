"""The commands that change nothing: NOOP, HELP, VRFY, EXPN."""

from relay.listen import replies
from relay.model.reply import Reply


async def noop(_argument: str) -> Reply:
    return replies.OK


async def help_(_argument: str) -> Reply:
    return replies.HELP


async def vrfy(argument: str) -> Reply:
    return replies.VERIFY if argument else replies.BAD_RECIPIENT


async def expn(_argument: str) -> Reply:
    return replies.NOT_IMPLEMENTED
