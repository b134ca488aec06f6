"""Random damage to a sound file: bytes, slices and the values of JSON and TOML."""

from __future__ import annotations

import random

TOKENS = [
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"1e999", b"-1", b"0", b"1" + b"0" * 30,
    b"9" * 5000, b"[" * 200, b"{" * 200, b"{\"a\":" * 2000, b"[" * 100_000, b"null", b"true", b"\"\"",
    b"''", b"\"../../etc/passwd\"", b"\"/etc/passwd\"", b"\"a\\u0000b\"", b"\"\\ud800\"", b"\x1b[2J",
    b"\0", b"\xff\xfe", b"\r\n", b"\xe2\x80\xa8", b"1970-01-01", b"[1, 2]", b"{}", b"[]", b"[[a]]",
    b"4294967296", b"9223372036854775808", b"-9223372036854775809", b"0.1", b"#", b"\\", b"\"\"\"",
    b"x" * 300,
]  # fmt: skip
"""What parsers are known to stumble over."""


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """A copy with one to six kinds of damage."""
    data = bytearray(seed)
    for _ in range(draw.choice([1, 1, 2, 3, 6])):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] = draw.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            data[at:at] = draw.choice(TOKENS)
        elif kind == 3:
            del data[at : at + draw.choice([1, 2, 4, 40, 400])]
        elif kind == 4:
            other = draw.randrange(len(data) + 1)
            data[at:at] = data[other : other + draw.choice([1, 4, 16, 200])]
        elif kind == 5:
            data = _value_replaced(data, at, draw)
        else:
            del data[at:]
    return bytes(data)


def _value_replaced(data: bytearray, at: int, draw: random.Random) -> bytearray:
    """The word or number at a place becomes a token."""
    ends = b' \n\t,:=[]{}"'
    start, stop = at, at
    while start > 0 and data[start - 1] not in ends:
        start -= 1
    while stop < len(data) and data[stop] not in ends:
        stop += 1
    return data[:start] + draw.choice(TOKENS) + data[stop:]
