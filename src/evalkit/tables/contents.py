"""What a value holds: compared by content, shown in short, written in full, and columns hashed by what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from evalkit.numerics.arrays import Floats, Ints

_LONGEST, _LONGEST_TEXT, _SHOWN = 500, 40, 6  # characters of a value, and of a text in it; entries of a tuple
_PLAIN = (str, bytes, int, float, np.generic)
_EXACT = 2**53  # below it a float holds every whole number


def same_content(self: object, other: object) -> bool:
    """Compare two values of one class by all that they hold: missing equals missing, arrays and frames entry by entry.

    It is the `__eq__` of values that hold arrays or frames, or numbers that may be NaN. They are not hashable.
    """
    return _same(self, other, set()) if type(self) is type(other) else NotImplemented


def _same(one: Any, other: Any, known: set[tuple[int, int]]) -> bool:
    """Compare, without asking twice about a pair of values that is `known` to be under comparison, or equal."""
    if one is other:
        return True
    if isinstance(one, _PLAIN) and isinstance(other, _PLAIN):
        return bool(one == other or (one != one and other != other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key], known) for key in one)
    if type(one) is not type(other):
        return False
    pair = (id(one), id(other))
    if pair in known:
        return True
    known.add(pair)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    if isinstance(one, pd.DataFrame | pd.Series):
        return bool(one.equals(other))
    if is_dataclass(one) and not isinstance(one, type):
        each = (field.name for field in fields(one) if field.compare)
        return all(_same(getattr(one, name), getattr(other, name), known) for name in each)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(_same(a, b, known) for a, b in zip(one, other, strict=True))
    return bool(one == other or (one != one and other != other))


def in_short(self: Any) -> str:
    """Name a value's class and the fields that say something, arrays and frames by their size only.

    It is the `__repr__` of values that hold data, or more settings than anybody reads.
    """
    shown = []
    for field in fields(self):
        content = getattr(self, field.name)
        plain = content is None or isinstance(content, str | int | float)
        unsaid = content == field.default if plain else isinstance(content, tuple | list | Mapping) and not content
        if field.repr and not unsaid:
            shown.append(f"{field.name}={_brief(content)}")
    return cut_short(f"{type(self).__name__}({', '.join(shown)})")


def cut_short(text: str) -> str:
    """Cut a text that is longer than anybody reads on one line."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _brief(content: Any) -> str:
    if isinstance(content, np.ndarray):
        return f"{content.dtype}{list(content.shape)}"
    if isinstance(content, pd.DataFrame | pd.Series):
        return f"{type(content).__name__}{list(content.shape)}"
    if isinstance(content, str):
        return repr(content if len(content) <= _LONGEST_TEXT else f"{content[: _LONGEST_TEXT - 1]}…")
    if isinstance(content, Mapping):
        return f"{{{len(content)} entries}}"
    if isinstance(content, tuple | list):
        more = f", … {len(content)}" if len(content) > _SHOWN else "," if len(content) == 1 else ""
        return f"({', '.join(map(_brief, content[:_SHOWN]))}{more})"
    if is_dataclass(content):
        return f"{type(content).__name__}(…)"
    return repr(content)


def in_full(value: object) -> str:
    """Write a value with every setting that it holds, as a plain dataclass shows itself; arrays and frames by their hash."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = (f"{field.name}={in_full(getattr(value, field.name))}" for field in fields(value) if field.compare)
        return f"{type(value).__qualname__}({', '.join(shown)})"
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype}{value.shape}:{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, np.ndarray):
        return f"object{value.shape}:{in_full(value.tolist())}"
    if isinstance(value, pd.Series):
        return f"Series:{hash_columns({'': value})}"
    if isinstance(value, pd.DataFrame):
        return f"DataFrame:{hash_columns({str(name): value[name] for name in value})}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{in_full(key)}: {in_full(of)}' for key, of in value.items())}}}"
    if isinstance(value, tuple | list):
        inside = ", ".join(map(in_full, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(in_full, value)))}}}"  # whose own order hangs on the hash seed
    return repr(value)


def hash_columns(columns: Mapping[str, pd.Series], *, ordered: bool = True) -> str:
    """Hash columns of one length, each with its name, by what they say (SHA-256, hexadecimal).

    1, 1.0 and Decimal(1) say the same, however they are stored (nullable, Arrow, categorical, objects); "1" and True say
    something else. All ways of being missing are one. Unless `ordered`, the order of the rows does not matter.
    """
    read = {name: _read(values) for name, values in columns.items()}
    arrays = [values for values, _ in read.values()]
    if not ordered and arrays:
        order = np.lexsort(arrays[::-1])
        arrays = [values[order] for values in arrays]
    found = hashlib.sha256()
    for (name, (_, labels)), values in zip(read.items(), arrays, strict=True):
        for text in (name, *labels):
            written = text.encode("utf-8", "surrogatepass")
            found.update(f"{len(written)}:".encode() + written)
        found.update(f"{values.dtype} {len(values)}:".encode() + values.tobytes())
    return found.hexdigest()


def _read(values: pd.Series) -> tuple[Floats | Ints, tuple[str, ...]]:
    """Numbers (n,) that a float holds exactly, NaN where missing; else codes (n,) of the labels, sorted, -1 where missing."""
    of_floats = pd.api.types.is_float_dtype(values.dtype)
    if of_floats or pd.api.types.is_integer_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        if of_floats or not (np.abs(numbers) >= _EXACT).any():
            return _plain(numbers), ()
    try:
        codes, levels = pd.factorize(values)
    except TypeError:  # lists and the like, which have no hash
        codes, levels = pd.factorize(values.map(repr, na_action="ignore"))
    found = levels.tolist()
    if all(_is_number(one) and _is_exact(one) for one in found):
        return _plain(np.append(np.array(found, dtype=np.float64), np.nan)[codes]), ()
    named = [_label(one) for one in found]
    labels = sorted(set(named))
    place = {label: i for i, label in enumerate(labels)}
    return np.array([*(place[label] for label in named), -1], dtype=np.int64)[codes], tuple(labels)


def _is_exact(number: Any) -> bool:
    """Say whether a float is this number, and stands for no other whole number."""
    return isinstance(number, float) or (abs(number) < _EXACT and float(number) == number)


def _plain(numbers: Floats) -> Floats:
    """Write zero and NaN in one way."""
    return np.where(np.isnan(numbers), np.nan, numbers + 0.0)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal | Fraction | np.number) and not isinstance(value, bool)


def _label(value: Any) -> str:
    """Write a value with its kind, so that "1", 1 and True are three."""
    if isinstance(value, str):
        return f"text {value}"
    if isinstance(value, bool | np.bool_):
        return f"bool {bool(value)}"
    if _is_number(value):
        return f"number {float(value) if _is_exact(value) else value!r}"
    return f"{type(value).__name__} {value!r}"
