"""What a client hears of policy: constants that name no rule (RFC 3463 §3.8, RFC 7372 for the codes)."""

from relay.model.reply import Reply

CLIENT_UNKNOWN = Reply(550, 7, 1, "This host may not send mail through here")
"""At MAIL FROM: no client of the policy has this address, certificate or login."""
AUTH_FAILED = Reply(535, 7, 8, "Authentication failed")
"""At AUTH: unknown login or wrong password."""
TLS_REQUIRED = Reply(530, 7, 0, "Must issue a STARTTLS command first")
"""At MAIL FROM: policy wants TLS of this client."""
SENDER_NOT_ALLOWED = Reply(550, 7, 1, "This client may not send as this address")
"""At MAIL FROM: policy does not let this client or login send as this address."""
NULL_SENDER_NOT_ALLOWED = Reply(550, 7, 1, "This client may not send with an empty reverse-path")
"""At MAIL FROM: policy takes no bounces from this client."""
RELAYING_DENIED = Reply(550, 7, 1, "Relaying denied")
"""At RCPT TO: the client comes from outside, and the recipient's domain is not ours."""
RECIPIENT_NOT_ALLOWED = Reply(550, 7, 1, "This client may not send to this address")
"""At RCPT TO: policy does not let this client send there."""
RECIPIENT_UNKNOWN = Reply(550, 1, 1, "No such recipient here")
"""At RCPT TO: the list or the next hop says that there is no such address."""
RECIPIENT_UNVERIFIED = Reply(451, 4, 3, "The recipient can't be verified now, try again later")
"""At RCPT TO: neither list nor next hop could say whether the address exists."""
RECIPIENT_REFUSED = Reply(550, 7, 1, "Refused by policy")
"""At RCPT TO: a rule refuses the recipient whatever the content is."""
RATE_EXCEEDED = Reply(450, 7, 1, "Too many messages or recipients, try again later")
"""At MAIL FROM or RCPT TO: the client or the sender has used its messages or recipients of this hour or day."""
POLICY_UNAVAILABLE = Reply(451, 3, 5, "Not able to decide now, try again later")
"""At MAIL FROM, RCPT TO or after DATA: the policy that is in force can't be put in force on this machine."""
SPOOL_FULL = Reply(452, 3, 1, "Not enough storage now, try again later")
"""At MAIL FROM or RCPT TO: the spool is above its watermark."""
