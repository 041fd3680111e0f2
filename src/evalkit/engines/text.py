"""Columns of a text file as values, by an engine: numbers, truths or text, by the rules of `parse_column`."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from evalkit.engines.engine import Engine, Frame
from evalkit.tables.text_columns import BLANKS, CODE, MISSING, PLAIN_NUMBER

_WHOLE = "^[+-]?[0-9]+$"


def type_columns(engine: Engine, columns: list[str]) -> Frame:
    """Give each column of an engine's rows the type that all of its values have, in a pass of its own."""
    tests: dict[str, Any] = {}
    for name in columns:
        text = nw.col(name).str.strip_chars(BLANKS)
        known = ~text.is_in(list(MISSING))
        tests[f"gaps {name}"] = text.is_null() | ~known
        tests[f"words {name}"] = known & (~text.str.contains(PLAIN_NUMBER) | text.str.contains(CODE))
        tests[f"broken {name}"] = known & ~text.str.contains(_WHOLE)
        tests[f"other {name}"] = known & ~text.str.to_lowercase().is_in(["true", "false"])
    flags = {f"f{i}": nw.when(flag).then(1).otherwise(0) for i, flag in enumerate(tests.values())}
    counted = engine.rows.with_columns(**flags).select(*(nw.col(one).sum() for one in flags))
    found = dict(zip(tests, (int(column[0].as_py() or 0) for column in engine.fetch(counted).columns), strict=True))

    def read(name: str) -> Any:
        text = nw.col(name).str.strip_chars(BLANKS)
        value = nw.when(~text.is_in(list(MISSING))).then(text)
        if not found[f"other {name}"] and not found[f"gaps {name}"]:
            return value.str.to_lowercase() == "true"
        if found[f"words {name}"]:
            return value
        number = value.cast(nw.Float64())
        return number.cast(nw.Int64()) if not (found[f"broken {name}"] or found[f"gaps {name}"]) else number

    return engine.rows.with_columns(read(name).alias(name) for name in columns)
