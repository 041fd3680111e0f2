"""OLE2 files: the workbook inside an .xls or a protected .xlsx, decrypted where Excel's own default password opens it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from xml.parsers.expat import ExpatError

import msoffcrypto
from msoffcrypto import exceptions

from evalkit.errors import SourceError

_DEFAULT = "VelvetSweatshop"  # under which Excel encrypts, and opens unasked, a workbook whose structure is protected
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
            remedy="copy its table into Excel and save it as .xlsx",
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
        try:
            return msoffcrypto.OfficeFile(io.BytesIO(data))
        except exceptions.FileFormatError as error:
            raise SourceError(
                "this is an OLE2 file without a workbook of Excel 97 or later in it",
                where=where,
                remedy=f"{_RESAVE}, if it is an older workbook; open it with the program that wrote it, if it is not",
            ) from error


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
            remedy=f"{_RESAVE} without a password (File, Info, Protect Workbook)",
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
