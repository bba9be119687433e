"""What a policy would do with a message, before it does it: the stages of the road themselves, without store, spool and network."""
