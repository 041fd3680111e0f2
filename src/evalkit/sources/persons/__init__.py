"""Persons: numbers, names and addresses that identify somebody, told by their form, and the pseudonyms that replace ids."""

from evalkit.sources.persons.judging import JudgedUnit, judge_unit
from evalkit.sources.persons.numbers import AS_TEXT, are_cut, citizen_check, clean, is_damaged, read_document
from evalkit.sources.persons.pseudonyms import (
    MAKE_KEY,
    pseudonym,
    read_key,
    replace_identifiers,
)
from evalkit.sources.persons.revealed import (
    Revealed,
    find_persons,
    refuse_headers,
    refuse_persons,
)
from evalkit.sources.persons.zeros import Shorn, shorn_of_zeros

__all__ = [
    "AS_TEXT",
    "MAKE_KEY",
    "JudgedUnit",
    "Revealed",
    "Shorn",
    "are_cut",
    "citizen_check",
    "clean",
    "find_persons",
    "is_damaged",
    "judge_unit",
    "pseudonym",
    "read_document",
    "read_key",
    "refuse_headers",
    "refuse_persons",
    "replace_identifiers",
    "shorn_of_zeros",
]
