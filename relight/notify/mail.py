"""Telling by mail: plain text and HTML, handed to one mail server by SMTP (RFC 5321)."""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from smtplib import SMTPException, SMTPNotSupportedError, SMTPResponseException
from typing import Final, Literal
from urllib.parse import urlsplit

from relight.notify.cleaning import line
from relight.notify.message import Message
from relight.notify.ways import MaybeTold, NotTold

Security = Literal["none", "starttls", "tls"]
_PORTS: Final = {"none": 25, "starttls": 587, "tls": 465}
_WHY: Final = 300
_Reply = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server, how it is spoken to, and how to get in."""

    address: str
    security: Security = "starttls"
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    timeout_s: float = 10


class Mail:
    """Mail to people."""

    repeatable = False

    def __init__(self, server: Server, sender: str, receivers: Sequence[str]) -> None:
        """Take the server, whom mail is from, and whom it goes to.

        Raises:
            OSError: the CA file cannot be read, or holds no certificate.
        """
        where = urlsplit(f"//{server.address}")
        self._host, self._port = where.hostname or "", where.port or _PORTS[server.security]
        self._server, self._sender, self._receivers = server, sender, tuple(receivers)
        self._tls = ssl.create_default_context(cafile=server.ca_file) if server.security != "none" else None
        self.name = f"mail by {server.address}"

    def tell(self, message: Message) -> str:
        """Hand it to the server, and return who was not taken as a receiver where another was. Raises: NotTold."""
        written = mail(message, self._sender, self._receivers).as_bytes(policy=SMTP)
        try:
            client = self._connected()
        except ssl.SSLError as error:
            raise NotTold(f"TLS failed ({_why(error)})") from error
        except (OSError, SMTPException) as error:
            raise NotTold(f"it cannot be reached ({_why(error)})", again=True) from error
        try:
            refused = self._addressed(client)
            self._handed(client, written)
            with suppress(OSError, SMTPException):
                client.quit()
        finally:
            client.close()
        return f"not to {', '.join(refused)}" if refused else ""

    def _connected(self) -> smtplib.SMTP:
        wait_s = self._server.timeout_s
        if self._server.security == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=wait_s, context=self._tls)
        return smtplib.SMTP(self._host, self._port, timeout=wait_s)

    def _addressed(self, client: smtplib.SMTP) -> list[str]:
        """Get in, and say whom a mail is from and whom it goes to; return the receivers that are not taken."""
        try:
            client.ehlo_or_helo_if_needed()
            if self._server.security == "starttls":
                client.starttls(context=self._tls)
                client.ehlo()
            if self._server.username is not None:
                client.login(self._server.username, self._server.password or "")
            _accepted(client.mail(self._sender))
            replies = {receiver: client.rcpt(receiver) for receiver in self._receivers}
            refused = [receiver for receiver, (code, _) in replies.items() if code not in (250, 251)]
            if len(refused) == len(replies):
                _accepted(replies[refused[0]])
        except ssl.SSLError as error:
            raise NotTold(f"TLS failed ({_why(error)})") from error
        except (OSError, SMTPException) as error:
            raise NotTold(_why(error), again=_passes(error)) from error
        return refused

    def _handed(self, client: smtplib.SMTP, written: bytes) -> None:
        try:
            _accepted(client.data(written))
        except SMTPResponseException as error:  # its answer says that it has not taken it
            raise NotTold(_why(error), again=_passes(error)) from error
        except (OSError, SMTPException) as error:
            raise MaybeTold(_why(error)) from error


def mail(message: Message, sender: str, receivers: Sequence[str]) -> EmailMessage:
    """Return a message as a mail. Its `Message-ID` is the same for the same message."""
    found = EmailMessage(policy=SMTP)
    found["From"], found["To"] = sender, ", ".join(receivers)
    found["Subject"] = message.title
    found["Date"] = formatdate(usegmt=True)
    found["Message-ID"] = f"<{message.id}@{sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(message.text, cte="quoted-printable")
    found.add_alternative(message.html, subtype="html", cte="quoted-printable")
    return found


def _accepted(reply: _Reply) -> None:
    if not 200 <= reply[0] < 300:
        raise SMTPResponseException(*reply)


def _passes(error: Exception) -> bool:
    """Tell whether another try may help: a code of 400 to 499 says so, and so does no answer at all."""
    if isinstance(error, SMTPResponseException):
        return 400 <= error.smtp_code < 500
    return not isinstance(error, SMTPNotSupportedError)


def _why(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return line(f"answered {error.smtp_code} {text}", _WHY)
    return line(str(error) or type(error).__name__, _WHY)
