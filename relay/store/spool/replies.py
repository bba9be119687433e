"""What a client hears when its message can't be kept now."""

from relay.model.reply import Reply

DISK_FULL = Reply(452, 3, 1, "Insufficient storage, try again later")  # RFC 3463 §3.4: X.3.1 mail system full
NO_FILES = Reply(451, 3, 0, "Local fault, try again later")  # X.3.0 other mail system status
NOT_NOW = Reply(451, 3, 0, "Storage is not available now, try again later")
