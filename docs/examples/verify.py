"""Verifies a message of relight: a CloudEvent on standard input, `verify.py KEYS`. Nothing but Python 3.9 is needed.

Prints the data that was verified, in canonical form and without the signature, and exits 0. What is not to be believed
is refused with one line on standard error and exit status 1; 2 is misuse. Act on what was printed and on nothing else,
drop what is for another cluster, and drop an `id` that you have seen.

`verify.py --canonical` prints the canonical form of each line of standard input instead.
"""

import base64
import hashlib
import hmac
import json
import sys
import time  # noqa: TID251 - an orchestrator has a clock

SKEW_S = 300  # clocks may differ by so much
SAFE = 2**53 - 1  # larger whole numbers are not the same everywhere
ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Refused(Exception):
    """A message is not to be believed. The message says why."""


def canonical(value):
    """Return a JSON value as RFC 8785 writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(f"{text(name)}:{canonical(value[name])}" for name in names) + "}"


def text(value):
    """Return a string: only quotes, backslashes and control characters are escaped."""
    value.encode()  # what is no Unicode has no canonical form
    return '"' + "".join(ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'


def number(value):
    """Return a number as ECMAScript prints it: the shortest that reads back as the same double."""
    if isinstance(value, int):
        if abs(value) > SAFE:
            raise ValueError(f"{value} is no safe integer")
        return str(value)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value} is no number of JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = f"{abs(value)!r}e0".partition("e")
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    digits = (whole + part).lstrip("0")
    point = len(digits) - len(part) + int(power.partition("e")[0])  # of 0.digits
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        body = digits.ljust(point, "0")
        return sign + (body[:point] + "." + body[point:] if len(digits) > point else body)
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    first, rest = digits[0], digits[1:]
    return f"{sign}{first}{'.' + rest if rest else ''}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def keys_of(path):
    """Return the keys of a file by their ids; it has `ID SECRET` on each line, the secret in base64."""
    with open(path, encoding="utf-8") as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {name: base64.b64decode(secret) for name, secret in lines}


def verified(event, keys, now_s):
    """Return the data of an event, without its signature. Raises: Refused."""
    if not isinstance(event, dict) or event.get("specversion") != "1.0" or not isinstance(event.get("data"), dict):
        raise Refused("it is no event")
    data = dict(event["data"])
    signature = data.pop("signature", None)
    if not isinstance(signature, dict):
        raise Refused("it is not signed")
    if signature.get("alg") != "HS256":
        raise Refused("it is signed in a way that is unknown here")
    secret = keys.get(str(signature.get("key_id")))
    if secret is None:
        raise Refused(f"the key {signature.get('key_id')!r} is unknown")
    try:
        digest = hmac.new(secret, canonical(data).encode(), hashlib.sha256).digest()
    except ValueError as error:
        raise Refused(f"it has no canonical form: {error}") from None
    value = base64.urlsafe_b64encode(digest).rstrip(b"=")
    if not hmac.compare_digest(value, str(signature.get("value")).encode("utf-8", "replace")):
        raise Refused("the signature does not match: it is forged, or altered")
    if now_s > data.get("expires_s", now_s):
        raise Refused("it has expired")
    if data.get("issued_s", 0) > now_s + SKEW_S:
        raise Refused("it was issued in the future: the clocks differ")
    return data


def main(arguments):
    """Do what the arguments say, and return the exit status."""
    if arguments == ["--canonical"]:
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(canonical(json.loads(line)).encode() + b"\n")
        return 0
    if len(arguments) != 1:
        sys.stderr.write("usage: verify.py KEYS < EVENT\n")
        return 2
    try:
        keys = keys_of(arguments[0])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"verify.py: {error}\n")
        return 2
    try:
        data = verified(json.loads(sys.stdin.buffer.read()), keys, time.time())
    except (Refused, ValueError, RecursionError) as error:
        sys.stderr.write(f"refused: {error}\n")
        return 1
    sys.stdout.buffer.write(canonical(data).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
