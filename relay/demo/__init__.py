"""The demonstration: real messages through a relay of its own over real SMTP, judged from what arrived outside and from the store."""
