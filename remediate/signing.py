"""Signs messages and checks who has signed them: HMAC-SHA-256 over canonical JSON (RFC 8785).

What is signed is the message's data without its `signature`, as a JSON object. A key has an id, so that keys can be
replaced while messages signed with older ones are still on their way: one key signs, several are believed.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeVar

import rfc8785

from schemas.command import MessageSignature, Signed

LEAST_BYTES: Final = 32
"""A key is as long as the digest at least (RFC 2104, section 3)."""

_S = TypeVar("_S", bound=Signed)


class NotAuthentic(Exception):
    """A message is not signed by one who is believed. The message says why."""


@dataclass(frozen=True)
class Keys:
    """Keys by their ids. `signing` names the one that signs, `None` where none does: then only others are checked."""

    secrets: Mapping[str, bytes] = field(repr=False)
    signing: str | None = None

    def __post_init__(self) -> None:
        """Refuse keys that are no protection. Raises: ValueError."""
        for key_id, secret in self.secrets.items():
            if len(secret) < LEAST_BYTES:
                raise ValueError(f"the key {key_id!r} has {len(secret)} bytes; it needs {LEAST_BYTES} at least")
        if self.signing is not None and self.signing not in self.secrets:
            raise ValueError(f"the key that signs, {self.signing!r}, is not among the keys")

    def signed(self, message: _S) -> _S:
        """Return a message with its signature. Raises: ValueError: no key signs."""
        if self.signing is None:
            raise ValueError("no key signs")
        value = _digest(self.secrets[self.signing], message.model_dump(mode="json"))
        return message.model_copy(update={"signature": MessageSignature(key_id=self.signing, value=value)})

    def check(self, data: Mapping[str, Any]) -> None:
        """Make sure that a message is signed with one of the keys.

        Args:
            data: The message as it came, as a JSON object: what a reader would add, such as defaults, is not signed.

        Raises:
            NotAuthentic: it is not.
        """
        signature = data.get("signature")
        if not isinstance(signature, dict):
            raise NotAuthentic("it is not signed")
        if signature.get("alg") != "HS256":
            raise NotAuthentic("it is signed in a way that is unknown here")
        key_id = str(signature.get("key_id"))[:100]
        secret = self.secrets.get(key_id)
        if secret is None:
            raise NotAuthentic(f"the key {key_id!r} is unknown")
        try:
            digest = _digest(secret, data)
        except ValueError as error:
            raise NotAuthentic(f"it has no canonical form: {error}") from None
        if not hmac.compare_digest(digest.encode(), str(signature.get("value")).encode("utf-8", "replace")):
            raise NotAuthentic(f"the signature with key {key_id!r} does not match: it is forged, or altered")


def canonical(data: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message that are signed. Raises: ValueError: a value in it has no canonical form."""
    try:
        return rfc8785.dumps({name: value for name, value in data.items() if name != "signature"})
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as error:
        raise ValueError(str(error)) from None


def _digest(secret: bytes, data: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(hmac.new(secret, canonical(data), sha256).digest()).rstrip(b"=").decode()
