"""Write .xls workbooks (BIFF8 in an OLE2 file), plain or encrypted as Excel does it.

Written from the published formats [MS-XLS], [MS-CFB] and [MS-OFFCRYPTO], not from the code under test.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Rows = list[list[Any]]
DEFAULT_PASSWORD = "VelvetSweatshop"
ERRORS = {"#NULL!": 0x00, "#DIV/0!": 0x07, "#VALUE!": 0x0F, "#REF!": 0x17, "#NAME?": 0x1D, "#NUM!": 0x24, "#N/A": 0x2A}
SECTOR = 512


@dataclass(frozen=True)
class Formula:
    """A formula with the value that was stored; None is none, and `flags` 2 asks for calculation on opening."""

    value: float | str | None
    flags: int = 0


@dataclass(frozen=True)
class Raised:
    """Text whose end is set in superscript."""

    text: str
    end: str


@dataclass(frozen=True)
class Formatted:
    """A number and the number format that shows it."""

    value: float
    style: str


@dataclass
class XlsSheet:
    """One sheet; ranges and hidden columns are counted from 0, ranges as first row, last row, first and last column.

    `objects` are the types of what lies on it, of which 8 is a picture, and 5 a chart.
    """

    rows: Rows
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    hidden_rows: tuple[int, ...] = ()
    hidden_columns: tuple[int, ...] = ()
    visible: bool = True
    uncalculated: bool = False
    chart: bool = False
    objects: tuple[int, ...] = ()


def record(code: int, body: bytes = b"") -> bytes:
    return struct.pack("<HH", code, len(body)) + body


def text(words: str, size: str = "<H") -> bytes:
    if words.isascii():
        return struct.pack(size, len(words)) + b"\0" + words.encode("ascii")
    wide = words.encode("utf-16-le")
    return struct.pack(size, len(wide) // 2) + b"\1" + wide


FORMATS = {"General": 0, "yyyy-mm-dd": 164, "h:mm": 165}


class _Book:
    def __init__(self, sheets: dict[str, XlsSheet], epoch_1904: bool) -> None:
        self.texts: list[bytes] = []
        self.epoch_1904 = epoch_1904
        self.bodies = {name: self.sheet(sheet) for name, sheet in sheets.items()}
        self.sheets = sheets

    def stream(self, filepass: bytes = b"") -> bytes:
        """Return all records; their length is a multiple of four, so that zeros behind them read as empty records."""
        return next(whole for spare in range(4) if len(whole := self.records(filepass, spare)) % 4 == 0)

    def records(self, filepass: bytes, spare: int) -> bytes:
        font = struct.pack("<HHHHHBBBB", 200, 0, 0x7FFF, 400, 0, 0, 0, 134, 0) + text("宋体", "<B")
        raised = struct.pack("<HHHHHBBBB", 200, 0, 0x7FFF, 400, 1, 0, 0, 134, 0) + text("宋体", "<B")
        head = record(0x809, struct.pack("<HHHHII", 0x600, 5, 0x0DBB, 0x07CC, 0, 6))
        head += record(0x2F, filepass) if filepass else b""
        head += (
            record(0x160, bytes(spare))
            + record(0x42, struct.pack("<H", 1200))
            + record(0x22, struct.pack("<H", self.epoch_1904))
        )
        head += record(0x31, font) * 4 + record(0x31, raised)
        for code, number in FORMATS.items():
            head += record(0x41E, struct.pack("<H", number) + text(code))
        for number in (*[0] * 16, *FORMATS.values()):
            head += record(0xE0, struct.pack("<HHH", 0, number, 1 if number else 0xFFF5) + bytes(14))
        head += record(0x293, struct.pack("<HBB", 0x8000, 0, 0xFF))
        strings = struct.pack("<II", len(self.texts), len(self.texts))
        pieces = [strings]
        for words in self.texts:
            if len(pieces[-1]) + len(words) > 8_000:
                pieces.append(b"")
            pieces[-1] += words
        tail = record(0xFC, pieces[0]) + b"".join(record(0x3C, piece) for piece in pieces[1:]) + record(0x0A)
        bound = [record(0x85, struct.pack("<IH", 0, 0) + text(name, "<B")) for name in self.sheets]
        start = len(head) + sum(map(len, bound)) + len(tail)
        for name, sheet in self.sheets.items():
            shown = (0 if sheet.visible else 1) | (0x200 if sheet.chart else 0)
            head += record(0x85, struct.pack("<IH", start, shown) + text(name, "<B"))
            start += len(self.bodies[name])
        return head + tail + b"".join(self.bodies.values())

    def sheet(self, sheet: XlsSheet) -> bytes:
        out = record(0x809, struct.pack("<HHHHII", 0x600, 0x20 if sheet.chart else 0x10, 0x0DBB, 0x07CC, 0, 6))
        out += record(0x5E, b"\0\0") if sheet.uncalculated else b""
        wide = max((len(row) for row in sheet.rows), default=0)
        out += record(0x200, struct.pack("<IIHHH", 0, len(sheet.rows), 0, wide, 0))
        for column in sheet.hidden_columns:
            out += record(0x7D, struct.pack("<HHHHHH", column, column, 2048, 15, 1, 0))
        for row in range(len(sheet.rows)):
            flags = 0x100 | (0x20 if row in sheet.hidden_rows else 0)
            out += record(0x208, struct.pack("<HHHHHHI", row, 0, wide, 255, 0, 0, flags))
        for row, cells in enumerate(sheet.rows):
            out += b"".join(self.cell(row, column, cell) for column, cell in enumerate(cells) if cell is not None)
        if sheet.merged:
            ranges = b"".join(struct.pack("<HHHH", *one) for one in sheet.merged)
            out += record(0xE5, struct.pack("<H", len(sheet.merged)) + ranges)
        for number, kind in enumerate(sheet.objects, start=1):
            out += record(0x5D, struct.pack("<HHHHH12x", 0x15, 18, kind, number, 0x6011) + bytes(4))
        out += record(0x23E, struct.pack("<HHHHHHHI", 0x6B6, 0, 0, 64, 0, 0, 0, 0))
        return out + record(0x0A)

    def cell(self, row: int, column: int, cell: Any) -> bytes:
        place = struct.pack("<HHH", row, column, 15)
        if isinstance(cell, Formula):
            return self.formula(place, cell)
        if isinstance(cell, bool):
            return record(0x205, place + struct.pack("<BB", cell, 0))
        if isinstance(cell, str) and cell in ERRORS:
            return record(0x205, place + struct.pack("<BB", ERRORS[cell], 1))
        if isinstance(cell, Formatted):
            place = struct.pack("<HHH", row, column, 16 + list(FORMATS).index(cell.style))
            return record(0x203, place + struct.pack("<d", cell.value))
        if isinstance(cell, int) and abs(cell) < 2**29:
            return record(0x27E, place + struct.pack("<i", cell << 2 | 2))  # an RK number
        if isinstance(cell, int | float):
            return record(0x203, place + struct.pack("<d", cell))
        if isinstance(cell, Raised):
            wide = (cell.text + cell.end).encode("utf-16-le")
            words = struct.pack("<HBH", len(wide) // 2, 9, 1) + wide + struct.pack("<HH", len(cell.text), 5)
        else:
            words = text(cell)
        self.texts.append(words)
        return record(0xFD, place + struct.pack("<I", len(self.texts) - 1))

    @staticmethod
    def formula(place: bytes, cell: Formula) -> bytes:
        rest = struct.pack("<HIH", cell.flags, 0, 3) + b"\x1e\x01\x00"  # the formula itself is =1
        if cell.value is None:
            return record(0x06, place + b"\3\0\0\0\0\0\xff\xff" + rest)
        if isinstance(cell.value, str):
            return record(0x06, place + b"\0\0\0\0\0\0\xff\xff" + rest) + record(0x207, text(cell.value))
        return record(0x06, place + struct.pack("<d", cell.value) + rest)


def ole2(stream: bytes, *names: str) -> bytes:
    """Put a stream into an OLE2 file of 512-byte sectors, under one name or several."""
    stream += bytes(max(4096 - len(stream), 0))  # a shorter one would have to stand elsewhere in the file
    size = len(stream)
    stream += bytes(-size % SECTOR)
    sectors = len(stream) // SECTOR
    tables = 1
    while tables * 128 < sectors + tables + 1:
        tables += 1
    if tables > 109 or len(names) > 3:
        raise ValueError("too large for this writer")
    nothing, last, table = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    nexts = [*range(1, sectors), last, last, *[table] * tables]
    nexts += [nothing] * (tables * 128 - len(nexts))

    def entry(title: str, kind: int, right: int, child: int, start: int, length: int) -> bytes:
        wide = title.encode("utf-16-le")
        named = struct.pack("<64sHBBIII", wide, len(wide) + 2 if wide else 0, kind, 1, nothing, right, child)
        return named + bytes(36) + struct.pack("<IQ", start, length)

    folder = entry("Root Entry", 5, nothing, 1, last, 0)
    for place, name in enumerate(names, start=1):
        folder += entry(name, 2, place + 1 if place < len(names) else nothing, nothing, 0, size)
    folder += entry("", 0, nothing, nothing, 0, 0) * (3 - len(names))
    header = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, tables, sectors, 0, 4096, last, 0, last, 0)
    where = [sectors + 1 + i for i in range(tables)]
    header += struct.pack("<109I", *where, *[nothing] * (109 - tables))
    return header + stream + folder + struct.pack(f"<{len(nexts)}I", *nexts)


def rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


class _Rc4:
    """RC4 with 40 of 128 bits of MD5, [MS-OFFCRYPTO] 2.3.6: what the yearbooks on sale are encrypted with."""

    def __init__(self, password: str) -> None:
        self.salt = bytes(range(16))
        first = hashlib.md5(password.encode("utf-16-le")).digest()[:5]
        self.base = hashlib.md5((first + self.salt) * 16).digest()[:5]
        verifier = bytes(range(16, 32))
        sealed = rc4(self.key(0), verifier + hashlib.md5(verifier).digest())
        self.filepass = struct.pack("<HHH", 1, 1, 1) + self.salt + sealed

    def key(self, block: int) -> bytes:
        return hashlib.md5(self.base + struct.pack("<I", block)).digest()


class _CryptoApi:
    """RC4 of the CryptoAPI with 128 bits of SHA-1, [MS-OFFCRYPTO] 2.3.5."""

    def __init__(self, password: str) -> None:
        salt = bytes(range(16))
        self.base = hashlib.sha1(salt + password.encode("utf-16-le")).digest()
        name = "Microsoft Enhanced Cryptographic Provider v1.0\0".encode("utf-16-le")
        header = struct.pack("<IIIIIIII", 4, 0, 0x6801, 0x8004, 128, 1, 0, 0) + name
        verifier = bytes(range(16, 32))
        sealed = rc4(self.key(0), verifier + hashlib.sha1(verifier).digest())
        self.filepass = struct.pack("<HHHII", 1, 4, 2, 4, len(header)) + header
        self.filepass += struct.pack("<I", 16) + salt + sealed[:16] + struct.pack("<I", 20) + sealed[16:]

    def key(self, block: int) -> bytes:
        return hashlib.sha1(self.base + struct.pack("<I", block)).digest()[:16]


def encrypt(stream: bytes, cipher: _Rc4 | _CryptoApi) -> bytes:
    """Encrypt the records of a stream, 1,024 bytes under a key, leaving plain what [MS-XLS] 2.2.10 leaves plain."""
    spare = max(len(stream), 1)
    pad = b"".join(rc4(cipher.key(block), bytes(1024)) for block in range(-(-spare // 1024)))
    out = bytearray(a ^ b for a, b in zip(stream, pad, strict=False))
    at = 0
    while at < len(stream):
        code, size = struct.unpack_from("<HH", stream, at)
        plain = 4 + size if code in (0x809, 0x2F, 0xE1) else 8 if code == 0x85 else 4
        out[at : at + plain] = stream[at : at + plain]
        at += 4 + size
    return bytes(out)


def xls_bytes(
    sheets: dict[str, XlsSheet], password: str = "", crypto_api: bool = False, epoch_1904: bool = False
) -> bytes:
    """Return an .xls, encrypted where a password is given."""
    book = _Book(sheets, epoch_1904)
    if not password:
        return ole2(book.stream(), "Workbook")
    cipher = _CryptoApi(password) if crypto_api else _Rc4(password)
    return ole2(encrypt(book.stream(cipher.filepass), cipher), "Workbook")


def xls(folder: Path, sheets: dict[str, XlsSheet], password: str = "", **options: bool) -> Path:
    """Write 年鉴.xls."""
    path = folder / "年鉴.xls"
    path.write_bytes(xls_bytes(sheets, password, **options))
    return path
