"""The bytes of a file and what kind of file they are, whatever it is called."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from xml.parsers.expat import ExpatError, ParserCreate, XMLParserType

import msoffcrypto
import olefile
from msoffcrypto import exceptions

from evalkit.errors import SourceError, nearest

FileKind = Literal["text", "gzip", "parquet", "zip", "ole2"]

TEXT_LIMIT = 1_000_000_000
"""Most bytes of text, decompressed, that are taken into memory."""

_CHUNK = 1 << 20
_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (bytes.fromhex("D0CF11E0A1B11AE1"), "ole2"),
    (b"PAR1", "parquet"),
    (b"\x1f\x8b", "gzip"),
)
PICTURES = (
    "take the table from the Excel edition of the publisher, or type or scan it (OCR) into a sheet and compare that with the "
    "printed page; cells that OCR has misread are then listed one by one"
)
"""What to do about a table that is there as a picture only."""
_COPY = "copy the table into Excel and save it as .xlsx"
_UNPACK = "unpack it, and give the path of the file inside"
_STRANGERS = tuple(
    (re.compile(magic, re.DOTALL), said, remedy)
    for magic, said, remedy in (
        (rb"%PDF", "a PDF document, which holds pages and no cells", PICTURES),
        (rb"CAJ\0|HN\0\0|KDH ", "a document of CNKI (CAJ), which holds pages and no cells", PICTURES),
        (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|BM.{4}\0{4}|.{4}ftyphei", "a picture", PICTURES),
        (rb"\{\\rtf", "a Word document in rich text (RTF)", _COPY),
        (rb"MIME-Version:", "a web archive (MHTML)", _COPY),
        (rb"\x09[\x08\x04]", "an Excel workbook older than Excel 97", "open it in Excel, and save it as .xlsx"),
        (rb"Rar!", "a RAR archive", _UNPACK),
        (rb"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    )
)


def read_bytes(path: Path, where: str) -> bytes:
    """Read a whole file; raise SourceError when there is none, it is not a file, is empty or cannot be opened."""
    try:
        if path.is_dir():
            raise SourceError("this is a folder, not a file", where=where, remedy="give the path of one file in it")
        if not path.exists():
            raise SourceError("there is no such file", where=where, remedy=_nearest_path(path))
        if not path.is_file():
            raise SourceError("this is a device or a pipe", where=where, remedy="copy the data into an ordinary file")
        data = path.read_bytes()
    except PermissionError as error:
        remedy = "close the file if it is open in Excel, and check that you may read it"
        raise SourceError("the file may not be opened", where=where, remedy=remedy) from error
    except (OSError, ValueError) as error:  # too long a name, a NUL in it, a share that went away
        raise SourceError(f"the file cannot be read ({error})", where=where, remedy="check the path") from error
    if not data:
        raise SourceError("the file is empty (0 bytes)", where=where, remedy="export or download it again")
    return data


def kind_of_file(data: bytes, where: str) -> FileKind:
    """Tell the kind of file from its first bytes; raise SourceError on kinds that hold no table, whatever their name says."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    for pattern, said, remedy in _STRANGERS:
        if pattern.match(data):
            raise SourceError(f"this is {said}, whatever its name says", where=where, remedy=remedy)
    return "text"


def inflate(data: bytes, where: str, limit: int | None = None) -> bytes:
    """Decompress gzip, stopping with SourceError as soon as the text would pass `limit` bytes (TEXT_LIMIT if None)."""
    chunks: list[bytes] = []
    size = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                check_size(size, where, limit)
                chunks.append(chunk)
    except EOFError as error:
        remedy = "download or copy the file again, whole"
        raise SourceError("the gzip file is cut off before its end", where=where, remedy=remedy) from error
    except (OSError, zlib.error) as error:
        remedy = "download or copy the file again"
        raise SourceError(f"the gzip file is damaged ({error})", where=where, remedy=remedy) from error
    if not size:
        raise SourceError("the gzip file holds nothing", where=where, remedy="export or download it again")
    return b"".join(chunks)


def check_size(size: int, where: str, limit: int | None = None) -> None:
    """Refuse text that would not fit into memory once it is split into fields."""
    limit = limit or TEXT_LIMIT
    if size > limit:
        raise SourceError(
            f"the file holds more than {limit / 1e9:g} GB of text",
            where=where,
            remedy="save it as Parquet, or keep only the columns and years that are needed",
        )


def refuse_doctype(xml: bytes, part: str) -> None:
    """Raise ValueError where a part of a workbook has a document type, in which entities could be declared.

    The parser that will read the part reads its beginning, so that no encoding hides one. Raises ExpatError where it is not XML.
    """

    def stop(*_: object) -> None:
        raise StopIteration

    scanner = make_parser(part)
    scanner.StartElementHandler = stop
    with suppress(StopIteration):  # a document type stands before the first element
        scanner.Parse(xml, True)


def make_parser(part: str) -> XMLParserType:
    """Make a parser of XML that raises ValueError at a document type, naming the `part` of the workbook."""

    def refuse(*_: object) -> None:
        raise ValueError(f"{part} declares a document type, for entities, which Excel never writes")

    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    return parser


def _nearest_path(path: Path) -> str:
    """Name what stands nearest to the first part of the path that does not exist."""
    missing = path
    while missing.parent != missing and not missing.parent.is_dir():
        missing = missing.parent
    wants_file = missing == path
    names = sorted(entry.name for entry in missing.parent.iterdir() if entry.is_file() or not wants_file)
    kind = "file" if wants_file else "folder"
    return f"there is no {kind} '{missing.name}' in '{missing.parent.as_posix()}': {nearest(missing.name, names)}"


_DEFAULT = "VelvetSweatshop"  # under which Excel encrypts, and opens unasked, a workbook whose structure is protected
_AGILE = struct.pack("<HH", 4, 4)  # the version whose description is XML
_MOST_ROUNDS = 1_000_000  # of hashing a password; Excel does 100,000, and each million takes two seconds
_DOCUMENTS = {"doc97": "a Word document (.doc)", "ppt97": "a PowerPoint presentation (.ppt)"}
_RESAVE = "open the file in Excel, and save it as .xlsx"
_DAMAGE = (
    exceptions.DecryptionError,
    exceptions.ParseError,
    struct.error,
    ExpatError,
    AssertionError,  # of msoffcrypto, on a stream that does not begin as a workbook
    AttributeError,  # of olefile, on a directory that is not there
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    OSError,
    TypeError,
)


def open_compound(data: bytes, where: str) -> tuple[Literal["xls", "xlsx"], bytes, list[str]]:
    """Return the Workbook stream of an .xls, or the zip file of a protected .xlsx, and what is to be noted.

    Raises SourceError for another password than Excel's default, for other kinds of OLE2 file, and for damage.
    """
    office = _open(data, where)
    if office.format in _DOCUMENTS:
        raise SourceError(
            f"this is {_DOCUMENTS[office.format]}, whatever its name says",
            where=where,
            remedy=_COPY,
        )
    notes = ["the file is encrypted under the default password of Excel"]
    with _damage_named(where):
        if office.format == "ooxml":
            return "xlsx", _decrypt(office, where), notes
        if office.is_encrypted():
            office = _open(_decrypt(office, where), where)
        else:
            notes.clear()
        office.data.workbook.seek(0)
        return "xls", office.data.workbook.read(), notes


def _open(data: bytes, where: str) -> Any:
    with _damage_named(where):
        shift, sectors = struct.unpack_from("<H12xI", data, 30)
        if shift not in (9, 12) or sectors > len(data) >> shift:
            raise ValueError("its table of sectors is larger than the file")
        _refuse_doctype_of_encryption(data)
        try:
            return msoffcrypto.OfficeFile(io.BytesIO(data))
        except exceptions.FileFormatError as error:
            raise SourceError(
                "this is an OLE2 file without a workbook of Excel 97 or later in it",
                where=where,
                remedy=f"{_RESAVE}, if it is an older workbook; open it with the program that wrote it, if it is not",
            ) from error


def _refuse_doctype_of_encryption(data: bytes) -> None:
    """Look at the XML that says how an .xlsx is encrypted before msoffcrypto parses it."""
    if olefile.isOleFile(io.BytesIO(data)):
        with olefile.OleFileIO(io.BytesIO(data)) as ole:
            if ole.exists("EncryptionInfo"):
                head = ole.openstream("EncryptionInfo").read()
                if head[:4] == _AGILE:
                    refuse_doctype(head[8:], "EncryptionInfo")


def _decrypt(office: Any, where: str) -> bytes:
    plain = io.BytesIO()
    try:
        if office.format == "ooxml":
            if office.info.get("spinValue", 0) > _MOST_ROUNDS:
                raise ValueError("its password is hashed more often than Excel does")
            office.load_key(password=_DEFAULT, verify_password=True)
        else:
            office.load_key(password=_DEFAULT)
        office.decrypt(plain)
    except exceptions.InvalidKeyError as error:
        raise SourceError(
            "the workbook is protected by a password that is not the default one of Excel",
            where=where,
            remedy="open it in Excel with its password, and save it as .xlsx without a password (File, Info, Protect Workbook)",
        ) from error
    return plain.getvalue()


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise SourceError(
            f"the workbook (.xls) is cut off or damaged ({str(error) or type(error).__name__})",
            where=where,
            remedy="download or copy it again; if it opens in Excel, save it as .xlsx",
        ) from error
