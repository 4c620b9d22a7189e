"""Python's `logging` in the layouts that training code uses, loguru, and any line that opens with a date and a time.

DeepSpeed, hydra, torch.distributed, transformers, Slurm's own `[2024-05-01T04:11:25.123] ` and Megatron's iteration
lines are layouts of the same kind.
"""

from typing import Final

from ingest.formats.levels import ANY_CASE, LEVELS, WORDS, level_in, level_origin
from ingest.formats.linear import compiled
from ingest.formats.recogniser import Format, Hints, Peeled
from ingest.formats.stamps import read_iso
from schemas.record import Origin

_NAME: Final = rb"[A-Za-z_<][\w.<>/-]{0,100}"

_LOWER: Final = rb"[a-z_][\w.]{0,100}"  # a module's name; `CUDA ERROR: ` opens a message

_AFTER_STAMP: Final = compiled(
    rb" - " + ANY_CASE + rb" - (?:__main__ - |[A-Za-z_]\w*(?:\.\w+)+ - )?"  # transformers: - INFO - __main__ -
    rb"| - " + _NAME + rb" - " + ANY_CASE + rb" - "  # the cookbook: - name - ERROR -
    rb"| ?\| {0,4}" + ANY_CASE + rb" *\| (?:[\w.<>]+:[\w<>]+:\d+ - )?"  # loguru: | ERROR | module:function:12 -
    rb"|\[[\w.]{1,100}\]\[" + ANY_CASE + rb"\] - "  # hydra: [name][ERROR] -
    rb"| \[" + ANY_CASE + rb"\] (?:\[[^\]\s]{1,200}:\d+(?::[^\]\s]{0,100})?\] )?"  # DeepSpeed: [ERROR] [file.py:12:f]
    rb"| " + _LOWER + rb": \[" + WORDS + rb"\] "  # torch.distributed: name: [WARNING]
    rb"| " + _LOWER + rb" " + WORDS + rb": "  # name ERROR:
    rb"| " + WORDS + rb":? "  # ERROR
)
_BASIC: Final = compiled(WORDS + rb":[A-Za-z_][\w.]{0,100}:")
_TRANSFORMERS: Final = compiled(rb"\[(" + WORDS + rb")\|[^\]|\s]{1,200}:\d{1,7}\] ")


def stamped(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `2024-05-01 04:11:25,123 - name - ERROR - ` and its like."""
    stamp = read_iso(segment)
    return _after(segment, stamp[1], stamp[0]) if stamp else None


def american(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `05/01/2024 04:11:25 - INFO - __main__ - `, which the examples of transformers write."""
    if segment[2:3] != b"/" or segment[5:6] != b"/":
        return None
    stamp = read_iso(segment[6:10] + b"-" + segment[:2] + b"-" + segment[3:5] + segment[10:40])
    return _after(segment, stamp[1], stamp[0]) if stamp else None


def bracketed(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[2024-05-01 04:11:25,123] [ERROR] [file.py:12:func] ` and its like."""
    stamp = read_iso(segment[1:48])
    if stamp is None or segment[stamp[1] + 1 : stamp[1] + 2] != b"]":
        return None
    return _after(segment, stamp[1] + 2, stamp[0])


def indented(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off Megatron's ` [2024-05-01 04:11:25.123456] iteration ...`, whose bracket follows a blank."""
    return bracketed(segment[1:], hints) if segment[1:3] == b"[2" else None


def _after(segment: bytes, at: int, time_s: float) -> Peeled:
    """Take off the names and levels that follow a stamp, or else one blank."""
    rest = segment[at:]
    found = _AFTER_STAMP.match(rest) if rest[:1] in (b" ", b"|", b"[") else None
    if found is None:
        return rest[1:] if rest[:1] == b" " else rest, Origin(time_s=time_s), ""
    end = found.end()
    return rest[end:], Origin(time_s=time_s, level=level_in(rest[:end])), ""


def basic(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `ERROR:name:`, the default of `logging.basicConfig`."""
    colon = segment.find(b":", 3, 9)
    if colon < 0 or segment[:colon] not in LEVELS or not segment[:colon].isupper():
        return None
    found = _BASIC.match(segment)
    return (segment[found.end() :], level_origin(LEVELS[segment[:colon]]), "") if found else None


def transformers(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[INFO|trainer.py:1234] 2024-05-01 04:11:25,123 >> ` of transformers."""
    found = _TRANSFORMERS.match(segment) if b"|" in segment[4:11] else None
    if found is None:
        return None
    rest = segment[found.end() :]
    stamp = read_iso(rest)
    if stamp is None:
        return rest, level_origin(LEVELS[found[1]]), ""
    rest = rest[stamp[1] :].removeprefix(b" >>")
    return rest[1:] if rest[:1] == b" " else rest, Origin(time_s=stamp[0], level=LEVELS[found[1]]), ""


FORMATS: Final = (
    Format("stamped", b"12", stamped),
    Format("american", b"01", american),
    Format("stamped", b"[", bracketed, second=b"12"),
    Format("stamped", b" ", indented),
    Format("basic", b"TDINSWECF", basic),
    Format("transformers", b"[", transformers, second=b"DIWEC"),
)
