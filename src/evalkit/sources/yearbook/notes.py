"""Notes of a yearbook table: which lines say something of its numbers, and of which indicators each says it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evalkit.auditing.published import GENERIC
from evalkit.sources.yearbook.words import join_words, narrow

_SENTENCE_END = re.compile("[。;；!！]")  # not ".", which stands for a comma in many scans
_ENDS = re.compile(r"[。;；.:：!！)）”\"]\s*$")
_BEGINS = re.compile(
    r"(?:备|附)?注\s*[:：0-9]|\(?[0-9]{1,2}[.、)）](?![0-9])|[①-⑳※*]|资料来源|数据来源|说明\s*[:：]|本表"
)
_ALL = re.compile("本表|本页|表中|各项|各指标|所有|全部|其他指标|以上(?:数据|各|指标)|上述|均为|均不|均按|均含|都")
# What stands before a name that a note does not speak of, but measures by, compares with, or counts in or out.
_BY = re.compile(
    r"(?:按照?|根据|依据|采用|使用|除以|扣除|剔除|不?包括|不?包含|不?含|除|占|相当于|比照)(?:[\u3400-\u9fff]{0,2})$"
)
_RATIO = re.compile(
    "(?:与|和|占|对)[^,，。;；]*(?:之比|比例|比重|比率|%)|中"
)  # behind it: a ratio of it, or a part of it
_FEWEST = 2  # letters of a name


def join_lines(lines: Sequence[str]) -> list[str]:
    """Put together notes that are printed over several lines (as `read_note` gives them): a line goes on until a sentence ends
    or a new note begins.
    """
    notes = list[str]()
    for line in lines:
        if notes and not _ENDS.search(notes[-1]) and not _BEGINS.match(line):
            notes[-1] += line
        else:
            notes.append(line)
    return notes


def named_in(note: str, indicators: Sequence[str]) -> tuple[str, ...]:
    """Return which of the indicators of a table a note concerns: those that it names, or all of them where it names none.

    The longest name counts where one lies in another: 大中型拖拉机配套农具 is not 大中型拖拉机. A name is that of any level
    of a path, and stands for all that is below it: 专利 for "专利 / 发明". One letter, or a word such as 合计 or 面积, names
    nothing. Neither does what a note measures by, compares with or counts in or out (按常住人口计算, 不含个体户), nor what it
    speaks of a part of (专利申请数中发明专利); and a note on 本表 or 各项 concerns all.
    """
    text = join_words(narrow(note))
    if _ALL.search(text):
        return tuple(indicators)
    levels = {name: [_plain(level) for level in name.split(" / ")] for name in indicators}
    found = set(_find(text, {level for path in levels.values() for level in path if _names(level)}))
    named = [name for name, path in levels.items() if found.intersection(path)]
    return tuple(named or indicators)


def attach_notes(notes: Sequence[str], indicators: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Say which sentences of the notes below a table concern each of its indicators, in the order in which they stand.

    Each sentence is attached by itself; notes that go on in another line are to be joined before (`join_lines`).
    """
    found: dict[str, list[str]] = {name: [] for name in indicators}
    for note in notes:
        for sentence in _sentences(note):
            for name in named_in(sentence, indicators):
                if sentence not in found[name]:
                    found[name].append(sentence)
    return {name: tuple(said) for name, said in found.items()}


def _sentences(note: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(note):
        if said := note[start : end.start()].strip():
            yield said
        start = end.end()
    if said := note[start:].strip():
        yield said


def _find(text: str, names: set[str]) -> Iterator[str]:
    """Find names in a text, the longest first, each letter for one name only; leave out those that it does not speak of."""
    free = text
    for name in sorted(names, key=lambda name: (-len(name), name)):
        start = free.find(name)
        while start >= 0:
            end = start + len(name)
            if not _BY.search(text[:start]) and not _RATIO.match(text[end:]):
                yield name
            free = free[:start] + "\0" * len(name) + free[end:]
            start = free.find(name, end)


def _names(level: str) -> bool:
    return len(level) >= _FEWEST and level not in GENERIC and level not in ("其他", "其中")


def _plain(level: str) -> str:
    """Write a level of a path as a note would: without spaces, full width or what stands in brackets behind it."""
    text = join_words(narrow(level))
    return re.sub(r"\s*\([^()]*\)$", "", text) or text
