"""What a client hears of policy: constants that name no rule (RFC 3463 §3.8, RFC 7372 for the codes)."""

from relay.model.reply import Reply

CLIENT_UNKNOWN = Reply(550, 7, 1, "This host may not send mail through here")
TLS_REQUIRED = Reply(530, 7, 0, "Must issue a STARTTLS command first")
SENDER_NOT_ALLOWED = Reply(550, 7, 1, "This client may not send as this address")
NULL_SENDER_NOT_ALLOWED = Reply(550, 7, 1, "This client may not send with an empty reverse-path")
RELAYING_DENIED = Reply(550, 7, 1, "Relaying denied")
RECIPIENT_NOT_ALLOWED = Reply(550, 7, 1, "This client may not send to this address")
RECIPIENT_UNKNOWN = Reply(550, 1, 1, "No such recipient here")
RECIPIENT_UNVERIFIED = Reply(451, 4, 3, "The recipient can't be verified now, try again later")
RECIPIENT_REFUSED = Reply(550, 7, 1, "Refused by policy")
RATE_EXCEEDED = Reply(450, 7, 1, "Too many messages or recipients, try again later")
SPOOL_FULL = Reply(452, 3, 1, "Not enough storage now, try again later")
STOPPING = Reply(421, 3, 2, "Closing down, try again later")
