"""Persons: numbers, names and addresses that identify somebody, told by their form, and the pseudonyms that replace ids."""

from evalkit.sources.persons.judging import JudgedUnit, judge_unit
from evalkit.sources.persons.numbers import AS_TEXT, are_cut, citizen_check, clean, is_damaged, read_document
from evalkit.sources.persons.pseudonyms import (
    pseudonym,
    read_documents,
    read_identifiers,
    read_key,
    replace_identifiers,
)
from evalkit.sources.persons.revealed import (
    Revealed,
    are_mobile_numbers,
    find_persons,
    refuse_headers,
    refuse_persons,
)
from evalkit.sources.persons.zeros import Shorn, shorn_of_zeros

__all__ = [
    "AS_TEXT",
    "JudgedUnit",
    "Revealed",
    "Shorn",
    "are_cut",
    "are_mobile_numbers",
    "citizen_check",
    "clean",
    "find_persons",
    "is_damaged",
    "judge_unit",
    "pseudonym",
    "read_document",
    "read_documents",
    "read_identifiers",
    "read_key",
    "refuse_headers",
    "refuse_persons",
    "replace_identifiers",
    "shorn_of_zeros",
]
