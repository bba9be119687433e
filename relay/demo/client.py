"""The organisation's mail server, for the demonstration: the standard library's SMTP client."""

import smtplib

from relay.demo.script import Scene

SECONDS = 60


def send(scene: Scene, port: int) -> str:
    """Sends one message, and gives the reply that counts as text: the one after DATA, or the refusal before it."""
    international = not (scene.sender + "".join(scene.ends)).isascii()
    raw = scene.raw
    options = (["BODY=8BITMIME"] if not raw.isascii() else []) + (["SMTPUTF8"] if international else [])
    with smtplib.SMTP("127.0.0.1", port, "mail.prosecution.example", SECONDS, (scene.source, 0)) as client:
        client.ehlo()
        if international:
            client.command_encoding = "utf-8"
        code, text = client.mail(scene.sender, options)
        for recipient in scene.ends:
            if code < 400:
                code, text = client.rcpt(recipient)
        if code < 400:
            code, text = client.data(raw)
    return f"{code} {text.decode('utf-8', 'replace')}"
