"""Seeded changes to an input: of its bytes, of its JSON values, of the cells of its table.

Every function takes its random numbers from the generator it is given, so the same seed gives the
same inputs.
"""

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

MAX_BYTES = 256 * 1024  # of one input
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 255, 256, 257, 4096, 32767, 32768, 65535, 65536,
            2**24, 2**31 - 1, 2**31, 2**32 - 1)  # fmt: skip
_TEXTS = (
    "", " ", "\0", "nan", "inf", "-inf", "1e999", "-1", "0", "1", "true", "null", "None", "a" * 999,
    "../../etc/passwd", "/etc/passwd", "C:\\x", "\ud800", "\U0001f600", "\u202e", "9" * 400,
    "=1+1", "{", "[", "train", "validation", "test", "finished", "running", "0x10", "1_000", "٣",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1.5, 1e308, -1e308, 1e400, float("nan"), 2**31,
    2**63, 10**30, 10**400, [], {}, [[]], [None], {"": None}, [1, 2], ["a", "b"], [[[[[[]]]]]],
    *_TEXTS,
)  # fmt: skip
_PNG = b"\x89PNG\r\n\x1a\n"

Mutator = Callable[[bytes, Random, Sequence[bytes]], bytes]


def mutate_bytes(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a few places of any bytes.

    Args:
        data: The input to change.
        rng: Where random numbers come from.
        others: Inputs that a part may be taken from.
    """
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 9))):
        _edit_bytes(changed, rng, others)
    return bytes(changed[:MAX_BYTES])


def mutate_image(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """As `mutate_bytes`; the checksums of a PNG are made right again, most of the time."""
    changed = mutate_bytes(data, rng, others)
    return _sign_png(changed) if rng.random() < 0.8 else changed


def mutate_json(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a few values or names of a JSON text, and now and then its bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(data, rng, others)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng, others)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        values = _edit_value(values, rng, 0)
    try:
        return json.dumps(values).encode()[:MAX_BYTES]
    except ValueError:  # a number with more digits than Python writes
        return data


def mutate_table(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a few cells, rows or columns of a CSV text, and now and then its bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(data, rng, others)
    text = data.decode("utf-8", "surrogateescape")
    mark = rng.choice(",,,,;\t") if rng.random() < 0.1 else ","
    rows = [line.split(mark) for line in text.split("\n")]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice(rows[: 1 if rng.random() < 0.2 else None])
        kind, at = rng.randrange(6), rng.randrange(len(row))
        if kind == 0:
            row[at] = rng.choice(_TEXTS)
        elif kind == 1:
            row[at] = str(rng.choice(_VALUES[:22]))[:500]
        elif kind == 2 and len(row) > 1:
            del row[at]
        elif kind == 3:
            row.insert(at, rng.choice(_TEXTS))
        elif kind == 4:
            rows.insert(rng.randrange(len(rows) + 1), list(rng.choice(rows)))
        elif len(rows) > 1:
            rows.remove(row)
    changed = "\n".join(mark.join(row) for row in rows)
    return changed.encode("utf-8", "surrogatepass")[:MAX_BYTES]


def mutate_lines(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the part of a line behind its "=", and now and then its bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng, others)
    lines = data.decode("utf-8", "replace").split("\n")
    at = rng.randrange(len(lines))
    value = rng.choice((rng.choice(_TEXTS), str(rng.choice(_NUMBERS)), f"{rng.uniform(-9, 9)}"))
    lines[at] = f"{lines[at].partition('=')[0]}={value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")[:MAX_BYTES]


def _edit_bytes(changed: bytearray, rng: Random, others: Sequence[bytes]) -> None:
    size = len(changed)
    # Headers hold more that is asked of than pixels do.
    at = rng.randrange(min(size, 1024) if rng.random() < 0.6 else size) if size else 0
    length = min(rng.choice((1, 2, 4, 8, 32, 256, 4096)), size - at)
    kind = rng.randrange(9)
    if kind == 0 and size:
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and size:
        changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind in (2, 3):
        form = rng.choice(("<H", ">H", "<L", ">L"))
        number = rng.choice(_NUMBERS) % (1 << (8 * struct.calcsize(form)))
        changed[at : at + struct.calcsize(form)] = struct.pack(form, number)
    elif kind == 4:
        del changed[at : at + length]
    elif kind == 5:
        changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 16))
    elif kind == 6:
        changed[at:at] = rng.randbytes(length)
    elif kind == 7:
        del changed[at + 1 :]
    elif others:
        other = rng.choice(others)
        start = rng.randrange(len(other) + 1)
        changed[at : at + length] = other[start : start + rng.choice((4, 64, 1024, 1 << 16))]
    del changed[MAX_BYTES:]


def _edit_value(value: Any, rng: Random, depth: int) -> Any:  # noqa: ANN401 - anything JSON can hold
    """The value with one place of it changed; whatever lies deeper is taken more often."""
    if not isinstance(value, dict | list) or not value or depth > 20 or rng.random() < 0.05:
        return rng.choice(_VALUES)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        kind = rng.randrange(5)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value * rng.choice((2, 50))
        return [*value[:at], _edit_value(value[at], rng, depth + 1), *value[at + 1 :]]
    name = rng.choice(list(value))
    kind = rng.randrange(8)
    if kind == 0:
        return {key: item for key, item in value.items() if key != name}
    if kind == 1:
        return value | {rng.choice(_TEXTS): rng.choice(_VALUES)}
    return value | {name: _edit_value(value[name], rng, depth + 1)}


def _sign_png(data: bytes) -> bytes:
    """A PNG with right checksums; anything else as it is."""
    if not data.startswith(_PNG):
        return data
    signed, at = bytearray(data), len(_PNG)
    while at + 12 <= len(signed):
        (length,) = struct.unpack_from(">L", signed, at)
        end = at + 8 + length
        if end + 4 > len(signed):
            break
        struct.pack_into(">L", signed, end, zlib.crc32(signed[at + 4 : end]))
        at = end + 4
    return bytes(signed)
