"""A real SMTP server, as small as RFC 5321 lets it be: it keeps what it is handed, and fails where a test says so."""

import base64
import socketserver
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from threading import Thread


@dataclass(frozen=True)
class Handed:
    sender: str
    receivers: tuple[str, ...]
    body: bytes
    secure: bool
    user: str | None

    @property
    def mail(self) -> EmailMessage:
        found = message_from_bytes(self.body, policy=default)
        assert isinstance(found, EmailMessage)
        return found


@dataclass
class Mailbox:
    """What it was handed and how it is. `hangs`: it takes the data and never says so."""

    address: str = ""
    handed: list[Handed] = field(default_factory=list)
    connections: int = 0
    refuses: dict[str, int] = field(default_factory=dict)
    """Receivers that are not taken, with the code."""
    at_data: list[int] = field(default_factory=list)
    """The codes that data is answered with, one after the other; then 250."""
    hangs: bool = False
    users: dict[str, str] = field(default_factory=dict)


@contextmanager
def smtp_server(certificate: Path | None = None, *, at_once: bool = False) -> Iterator[Mailbox]:
    """Serve; with a certificate it has STARTTLS, or speaks TLS at once."""
    state = Mailbox()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    class Handler(_Session):
        mailbox, tls, tls_at_once = state, context, at_once

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        state.address = f"127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Session(socketserver.StreamRequestHandler):
    mailbox: Mailbox
    tls: ssl.SSLContext | None
    tls_at_once: bool
    secure = False
    user: str | None = None

    def handle(self) -> None:
        try:
            self._session()
        finally:
            if self.secure:
                self.rfile.close()
                self.wfile.close()
                self.connection.close()

    def _session(self) -> None:
        self.mailbox.connections += 1
        with suppress(OSError):
            if self.tls_at_once:
                self._secured()
            self._say(220, "stand-in")
            self._sender, self._receivers = "", list[str]()
            while line := self.rfile.readline():
                word, _, rest = line.decode().strip().partition(" ")
                if word.upper() == "QUIT":
                    self._say(221, "bye")
                    return
                getattr(self, f"_{word.lower()}", self._unknown)(rest)

    def _ehlo(self, _: str) -> None:
        offers = ["stand-in"]
        if self.tls is not None and not self.secure:
            offers.append("STARTTLS")
        if self.mailbox.users:
            offers.append("AUTH PLAIN")
        for offer in offers[:-1]:
            self.wfile.write(f"250-{offer}\r\n".encode())
        self._say(250, offers[-1])

    def _starttls(self, _: str) -> None:
        self._say(220, "go on")
        self._secured()

    def _auth(self, rest: str) -> None:
        _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        if self.mailbox.users.get(user) == password:
            self.user = user
            self._say(235, "in")
        else:
            self._say(535, "wrong")

    def _mail(self, rest: str) -> None:
        self._sender = rest.partition("<")[2].partition(">")[0]
        self._say(*((250, "ok") if self.user or not self.mailbox.users else (530, "who are you?")))

    def _rcpt(self, rest: str) -> None:
        receiver = rest.partition("<")[2].partition(">")[0]
        code = self.mailbox.refuses.get(receiver, 250)
        if code == 250:
            self._receivers.append(receiver)
        self._say(code, "ok" if code == 250 else "not here")

    def _data(self, _: str) -> None:
        self._say(354, "go on")
        body = b""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return
            body += line[1:] if line.startswith(b"..") else line
        code = self.mailbox.at_data.pop(0) if self.mailbox.at_data else 250
        if code == 250:
            self.mailbox.handed.append(Handed(self._sender, tuple(self._receivers), body, self.secure, self.user))
        if self.mailbox.hangs:
            time.sleep(2)
            return
        self._say(code, "ok" if code == 250 else "not now")

    def _unknown(self, _: str) -> None:
        self._say(502, "what?")

    def _secured(self) -> None:
        assert self.tls is not None
        plain = self.request
        self.connection = self.request = self.tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self.secure = True
        self.connection.do_handshake()
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def _say(self, code: int, words: str) -> None:
        self.wfile.write(f"{code} {words}\r\n".encode())
