"""Reading frames out of entries of the bus: common/frames.def, and as much msgpack as they use."""

import os
import re
import struct

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _definitions():
    """id -> (name, names of the fields), from the one place where they stand."""
    with open(os.path.join(ROOT, "common", "frames.def"), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    rows = re.findall(r"FRAME\(\s*(\d+),\s*(\w+),\s*\w+,\s*\w+,\s*\w+,(.*?)\)\s*(?=FRAME|$)", text,
                      re.DOTALL)
    return {int(id): (name, re.findall(r"\w+\((\w+)\)", body)) for id, name, body in rows}


FRAMES = _definitions()


class Unreadable(ValueError):
    """These bytes are no frames of this version."""


class _Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def _take(self, size):
        if self.at + size > len(self.data):
            raise Unreadable("cut off")
        self.at += size
        return self.data[self.at - size:self.at]

    def _number(self, format):
        return struct.unpack(">" + format, self._take(struct.calcsize(format)))[0]

    def value(self):
        kind = self._number("B")
        if kind < 0x80:
            return kind
        if 0x90 <= kind < 0xa0:
            return [self.value() for _ in range(kind & 15)]
        if 0xa0 <= kind < 0xc0:
            return self._take(kind & 31)
        if kind in (0xcc, 0xcd, 0xce, 0xcf):
            return self._number("BHIQ"[kind - 0xcc])
        if kind in (0xc4, 0xc5, 0xc6):
            return self._take(self._number("BHI"[kind - 0xc4]))
        if kind in (0xd9, 0xda, 0xdb):
            return self._take(self._number("BHI"[kind - 0xd9]))
        if kind == 0xc0:
            return None
        if kind in (0xdc, 0xdd):
            return [self.value() for _ in range(self._number("HI"[kind - 0xdc]))]
        raise Unreadable(f"byte {kind:#x}")


def read_frames(entry):
    """The frames of an entry: (name, {field: value}). Texts are bytes, numbers lists of two. What is
    nil is what it was in the last frame of this type."""
    reader = _Reader(entry)
    frames, last = [], {}
    while reader.at < len(entry):
        values = reader.value()
        if not isinstance(values, list) or not values or values[0] not in FRAMES:
            raise Unreadable(f"no frame: {values!r}")
        name, fields = FRAMES[values[0]]
        if len(fields) != len(values) - 1:
            raise Unreadable(f"{name} with {len(values) - 1} fields")
        for i, value in enumerate(values):
            if value is None:
                values[i] = last[name][i] if name in last else None
            if values[i] is None:
                raise Unreadable(f"{name} lacks {fields[i - 1]}")
        last[name] = values
        frames.append((name, dict(zip(fields, values[1:]))))
    return frames
