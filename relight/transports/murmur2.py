"""The hash by which Kafka's clients choose a key's partition, so that both adapters put a key in the same one."""

from functools import lru_cache
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


@lru_cache(maxsize=4096)
def murmur2(data: bytes) -> int:
    """Return the 32-bit murmur2 hash of some bytes, with Kafka's seed (A. Appleby, MurmurHash2, public domain)."""
    value = _SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        value = (value * _M & _MASK) ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    return value ^ value >> 15


def partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition of a key; records without one go to the first."""
    return 0 if key is None else (murmur2(key) & 0x7FFFFFFF) % partitions
