"""Connections to brokers as kafka-python makes them, but each attempt ends in time, closed, and with its reason."""

import socket
import ssl
import time
from typing import Any, Final
from weakref import WeakSet

from kafka.errors import SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

_READ_BYTES: Final = 256 * 1024


def net(**configs: Any) -> KafkaNetClient:
    """Return the network part of a client, for the option `kafka_client`."""
    loop = NetworkSelector(**configs)
    client = _Client(loop, _Connections(loop, **configs))
    if context := configs.get("ssl_context"):
        context.sslsocket_class, context.shaking_hands = _TlsSocket, client.shaking_hands
    return client


def refusal(client: KafkaNetClient) -> SaslAuthenticationFailedError | None:
    """Return why a broker did not let it in, if one did not."""
    manager = client._manager
    return next((manager.auth_failure(one.node_id) for one in manager.cluster.bootstrap_brokers()), None)


class _Client(KafkaNetClient):  # type: ignore[misc] # kafka-python has no types
    """A client that closes all its sockets: kafka-python forgets those whose TLS has not begun yet."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self.shaking_hands: WeakSet[ssl.SSLSocket] = WeakSet()

    def close(self, node_id: Any = None) -> None:
        super().close(node_id)
        if node_id is None:
            for one in list(self.shaking_hands):
                one.close()


class _Connections(KafkaConnectionManager):  # type: ignore[misc] # kafka-python has no types
    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        """Connect, in time: kafka-python waits for the other side's part of TLS without end."""
        building = self.call_soon(super()._build_transport, node, timeout_at)
        return await self.wait_for(building, None if timeout_at is None else (timeout_at - time.monotonic()) * 1000)

    async def _connect(self, node: Any, conn: Any, **how: Any) -> None:
        """Connect, and remember a refused login, so that the next attempt raises it and not a timeout.

        kafka-python means to, but looks for it where a failed login does not show.
        """
        await super()._connect(node, conn, **how)
        begun = conn.init_future
        if begun.is_done and isinstance(begun.exception, SaslAuthenticationFailedError):
            self._auth_failures[node.node_id] = begun.exception


class _LastWords:
    """A socket that tells of its end only after what came before it has been taken in.

    kafka-python drops what it reads together with the end of a connection: a broker's reason for a refused login.
    It reads 4 KiB at a time; this gives it more.
    """

    _heard = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data: bytes = super().recv(max(buflen, _READ_BYTES), flags)  # type: ignore[misc] # it is mixed into a socket
        if self._heard and not data:
            self._heard = False
            raise BlockingIOError
        self._heard = bool(data)
        return data


class _Socket(_LastWords, socket.socket):
    pass


class _TlsSocket(_LastWords, ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        """Agree, or close: kafka-python leaves a socket that did not agree to the garbage collector."""
        self.context.shaking_hands.add(self)  # type: ignore[attr-defined]
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


class _DirectSocket(KafkaNetSocket):  # type: ignore[misc] # kafka-python has no types
    """Makes sockets without a proxy."""

    SCHEMES = ("relight-direct",)

    def socket(self, family: int, sock_type: int, proto: int) -> socket.socket:
        return _Socket(family, sock_type, proto)

    async def sock_connect(self, net: Any, sock: Any, sockaddr: Any, timeout_at: float | None = None) -> Any:
        """Connect, or close: kafka-python leaves a socket that did not connect to the garbage collector."""
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise


OPTIONS: Final = {"proxy_url": f"{_DirectSocket.SCHEMES[0]}://"}
"""kafka-python takes other kinds of sockets by the scheme of a proxy's address."""
