"""Message, decision and audit event in one durable commit. Promise: 250 is said only after that."""
