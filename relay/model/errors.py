"""The errors of Sluis. Everything else that escapes a stage is a bug: logged, and the client hears 451 4.3.0."""

from relay.model.reply import Reply


class SluisError(Exception):
    """An error of ours: its text is for the log and for staff, never for the client."""


class Refusal(SluisError):
    """Carries the reply that the client hears; `reason` is for the log and the record."""

    def __init__(self, reply: Reply, reason: str = "") -> None:
        super().__init__(reason or str(reply))
        self.reply = reply
        self.reason = reason or reply.text


class ConfigurationError(SluisError):
    """What is wrong in settings or policy: one problem a line, `file:line: what (hint)`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PolicyUnavailable(Refusal):
    """The policy that is in force can't be put in force here, so nothing is decided here until it can."""


class SpoolError(SluisError):
    """A spool object is missing, cut short or altered; its bytes must not be used."""


class SpoolUnavailable(SpoolError):
    """A spool object can't be had now: a disk or folder that is away, too many open files, a private key that is not here. It may pass."""


class StoreError(SluisError):
    """The store can't be used as it is: old schema, missing trigger, lost connection, held by another process."""


class OperationRefused(SluisError):
    """What a person asked of the relay and may not have, or can't; the text is for whoever asked."""


class RelayDown(SluisError):
    """Nobody answers on the control socket."""


class Withdrawn(SluisError):
    """What was about to leave may not leave any more: the lease was lost or the brake fell. The connection is dropped before the final
    dot.
    """


class ClientLeft(SluisError):
    """Nobody is there any more who could hear that a message was taken: nothing of it was committed."""
