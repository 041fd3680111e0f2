"""The words above a table: what is counted, in which unit, in which year."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from evalkit.errors import DataError
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.words import REMEMBERED, is_chinese, join_words, narrow, qualifies, split_translation
from evalkit.tables.units import unit_ratio

_MANY = "(?:十|百|千|万|亿|十万|百万|千万|百亿|千亿|万亿)?"
_THING = (
    "吨|公吨|千克|公斤|市?斤|克|毫克|担|吨?标准?煤|吨公里|人公里|公顷|市?亩|平方米|平方公里|平方千米|立方米|米|公里|千米|厘米|毫米|"
    "升|毫升|瓦|千瓦|千瓦小?时|度|元|美元|欧元|港元|日元|人|人次|人年|名|户|对|个|家|所|处|座|栋|台|辆|部|架|艘|条|项|件|套|"
    "头|只|匹|羽|口|箱|株|棵|枚|张|床|册|份|篇|种|次|眼|宗|幢|例|起|台件|台次|辆次|年|月|天|日|小时|倍|位|百分点|标准箱|"
    "%|‰|t|kg|g|mg|ha|hm2|m|m2|m3|km|km2|mm|cm|L|kW|kWh|MWh|GJ|TJ|℃|°C|tce"
)
_UNIT = re.compile(f"{_MANY}(?:{_THING})(?:/{_MANY}(?:{_THING})|·(?:公里|千米|小?时|[天日年次]))*|[^()=]{{0,20}}=100")
_ENGLISH_UNIT = re.compile(
    "(?:10000|1000|100million|million)?(?:tons?|tonnes?|t|hectares?|ha|yuan|persons?|mu|kWh|kW|kg)"
)
_POWERS = str.maketrans("²³", "23")
_RATE = re.compile(
    r"(?<![功频汇])率$|增速|增长(?![额量值人点])|增减|[增涨降]幅|结构$|涨跌|升降|比重|比例|比$|比值|[同环]比|比[上去]年|构成|位次|排名|名次|排位|"
    r"[排位顺次]序|序号|指数|系数|倍数|速度|程度|占.*[比重]$|占(?:全|总)|(?:为|相当于|与)[上去]年|[%‰]"
)
_COUNT = re.compile(
    "(?:[人户个件家台次天月村校所班辆头床]|机构|企业|项目|单位|合同)数量?$|(?:人口|人员|当量|面积|产量|里程|用电量|年龄|[保拥]有量|[存出]栏|学生|教师|职工)$|"
    "(?<![基总计预决算划际成行额整收支指对])数$"
)
_OWN = (
    ("(?:人口|人数)$", "[人口名]"),
    ("户数$", "户"),
    ("面积$", "[亩顷平ha]"),
    ("(?:产值|增加值|收入|支出|投资额?|金额|税收|利润|[单均]?价格?|工资|[存贷]款)$", "[元%=]|yuan"),
    ("[用发供售]电量$", "[时度]|Wh"),
    ("总动力$", "瓦|kW"),
)  # names, and what their units have in them
_PER_HEAD = re.compile(
    "人均|户均|亩均|[地车]均|每|户规模|平均(?:年龄|规模|寿命)|单产|密度|单位产|平均工资|均价|单价|价格"
)
_YIELD = re.compile("单产|单位产|密度")  # never in the unit of the totals beside them, however small
_CAPTION = re.compile(r"(?:^|(?<=[\s(]))(?:计量)?单\s*位\s*:(.*)$")
_ENGLISH = re.compile(r"[(]?\s*units?\s*:.*$", re.IGNORECASE)
_BRACKET = re.compile(r"\(([^()]*)\)$")
_FOREIGN = re.compile(r"\((?=[^()]*[A-Za-z]{3})[^()]*\)")
_SIZE = re.compile(r"(?<=\S)\s*\(\s*([0-9][0-9 ,]*[a-z]+(?: [a-z]+)?)\s*\)\s*$")  # (10 000 yuan) behind a name
_DIGITS = re.compile(r"(?:续?附?表\s*)?([0-9]{1,2}(?:[-–—.·][0-9]{1,3})+)")
_NUMBER = re.compile(  # of a table: "5-3", "表 2.1"; but not the first words of "0-14岁人口"
    r"(?:续?附?表\s*)?[0-9]{1,2}(?:\s*[-–—.·]\s*[0-9]{1,3})+(?![0-9岁月日年周级个人户元亩])|续?附?表\s*[0-9]+"
)
_YEARS = "(?:19|20)[0-9]{2}年?(?:[-–—~至](?:19|20)[0-9]{2})?年?"
_SCOPE = re.compile(r"(?:各|分)(?:县\(市、区\)|县、市\(区\)|县\(市\)|县市区|市县区|县市|市县|地区|地州市|州市)的?")
_LEADING = (
    _NUMBER,
    re.compile("[一二三四五六七八九十]+、"),
    re.compile(_YEARS),
    _SCOPE,
    re.compile("续表[0-9一二三四五六七八九]*"),
)
_GOES_ON = re.compile(r"续|continued", re.IGNORECASE)
_CONTINUED = re.compile(r"\(续表?\s*[0-9]*\)$|续表\s*[0-9]*$")
_BASE = re.compile(
    r"\([^()]*=\s*100\)|(?:19|20)[0-9]{2}年?(?:不变|可比|固定)价|\([按以]?(?:19|20)[0-9]{2}年?价格?(?:计算)?\)|"
    "以(?:19|20)[0-9]{2}年?为(?:基|1)|(?:19|20)[0-9]{2}年?(?:以来|至今|起)|"
    r"(?:更新|发布|公布|编印|印刷|出版|整理|制表)(?:[日时][期间])?\s*[于:]?\s*(?:19|20)[0-9]{2}年?|"
    r"(?:19|20)[0-9]{2}年?(?:[0-9]{1,2}月)?(?:[0-9]{1,2}日)?(?:更新|发布|公布|编印|印刷|出版|制表)|"
    r"(?:根据|依据)(?:19|20)[0-9]{2}年"
)
_REGION = re.compile(r"地区\s*:\s*(.+)")
_NATIONAL = re.compile(r"数据库:\s*年度数据$")  # data.stats.gov.cn says 分省年度数据 of provinces
_REMARK = re.compile(r"(?:数据库|时间|地区|频度|更新时间|表号|制表机关|填报单位|编制单位|资料来源|数据来源)\s*:")
_INDICATOR = re.compile(r"指标\s*:\s*(.+)")
_YEAR_AMONG = re.compile("(?<![0-9])(?:19|20)[0-9]{2} ?年|^(?:19|20)[0-9]{2}(?:$|[^0-9\u3400-\u9fff])")
_CONTENTS = ("目录", "目次", "contents", "index")
_ANY_YEAR = re.compile(  # not the year of a month, a quarter or a half-year
    "(?<![0-9])((?:19|20)[0-9]{2})"
    r"(?=年(?!第?[一二三四1-4]季|[0-9]{1,2}月|上半年|下半年|[0-9]-)|\)|$|[-–—~至、,，和及与/](?:19|20)[0-9]{2})"
)


class Caption:
    """Collect what stands above a table; titles and units are kept with the cell in which they stand.

    `several` lists captions with more than one unit ("公顷、吨"), which say of no column which one is its own. `before` is the
    caption of the table that this one goes on, which may be the one before it on the page or, where both have a number, one of
    those `known` from other pages; what a continuation does not say, that one does.
    """

    def __init__(
        self,
        page: Page,
        cells: Iterable[tuple[str, str]],
        before: Caption | None = None,
        known: Mapping[str, Caption] | None = None,
    ) -> None:
        self.page, self.is_there = page, False
        self.region: str | None = None
        self.titles: list[tuple[str, str]] = []
        self.several: list[str] = []
        self.remarks: list[str] = []
        self._scopes: list[str] = []
        self._declared: list[tuple[str, str]] = []
        self._units: list[tuple[str, str]] = []
        self._years: set[int] = set()
        for text, place in cells:
            self.is_there = True
            for line in filter(None, map(str.strip, narrow(text).splitlines())):
                self._add(line, place)
        own = next((found[1] for title, _ in self.titles if (found := _DIGITS.match(title))), "")
        goes_on = not self.titles or any(_GOES_ON.search(title) for title, _ in self.titles)
        nearest = before if before and own in ("", before.number) else (known or {}).get(own)
        self.before = nearest if goes_on and (own or nearest is before) else None
        self.is_there = self.is_there or self.before is not None
        self.number: str = own or (self.before.number if self.before else "")
        self.region = self.region or (self.before.region if self.before else None)

    def is_contents(self) -> bool:
        """Tell a list of contents from a table."""
        words = [self.page.sheet or "", *(title for title, _ in self.titles)]
        return any(join_words(word).lower() in _CONTENTS for word in words)

    def unit(self) -> str | None:
        """Return the unit of the whole table, None where none is given, or more than one."""
        found = self._found_units()
        if not found and not self.several and self.before:
            return self.before.unit()
        return next(iter(found)) if len(found) == 1 and not self.several else None

    def doubt(self) -> str:
        """Say why the units above the table are that of no column for certain; "" where there is one, or none at all."""
        found = self._found_units()
        if self.several:
            return f"the caption '{self.several[0]}' names several"
        if len(found) > 1:
            return " and ".join(f"it is '{unit}' in {place}" for unit, place in found.items())
        return self.before.doubt() if self.before and not found else ""

    def _found_units(self) -> dict[str, str]:
        """Return the units and where they stand. One in English is a translation, unless it says another size than the Chinese:
        (100 million yuan) beside 万元.
        """
        found = dict(self._units)
        chinese = {unit: place for unit, place in found.items() if is_chinese(unit) or unit in "%‰"}
        others = {unit: place for unit, place in found.items() if any(_contradict(unit, one) for one in chinese)}
        return chinese | others if chinese else found

    def years(self) -> set[int]:
        """Return the years that the titles name; a continuation's are those of the table that it goes on."""
        return self._years or (self.before.years() if self.before else set())

    def indicator(self) -> tuple[str, str]:
        """Return what the whole table counts; "" and the reason where no title says so, or several could."""
        titles = self._declared or self.titles
        if self.before and not any(name_indicator(title) for title, _ in titles):
            return self.before.indicator()
        numbered = [title for title in titles if _NUMBER.match(title[0])]
        chosen = titles if len(titles) == 1 else numbered
        if len(chosen) != 1:
            places = " and ".join(place for _, place in titles)
            said = f"the titles in {places} differ" if titles else "no title above it says what the numbers are"
            return "", f"the header holds only years, and {said}"
        name = name_indicator(chosen[0][0])
        return name, "" if name else f"the title '{chosen[0][0]}' does not say what the numbers are"

    def scope(self) -> list[str]:
        """Return the remarks on all numbers of the table, such as 按折纯法计算, with those of the table that it goes on."""
        return [*(self.before.scope() if self.before else ()), *self._scopes]

    def _add(self, line: str, place: str) -> None:
        if found := _CAPTION.search(line):
            units = _read_caption(found[1])
            if len(units) > 1:
                self.several.append(join_words(found[1]))
            self._units += [(unit, place) for unit in units if len(units) == 1]
            self._units += [
                (unit, place) for one in _FOREIGN.findall(found[1]) if (unit := known_unit(one.strip("()")))
            ]
            line = line[: found.start()].rstrip(" (")
        if english := _ENGLISH.search(line):
            said = re.sub(r"\s+", " ", english[0].partition(":")[2].strip(" )"))
            self._units += [(unit, place)] if (unit := known_unit(said)) else []
        title = join_words(split_translation(_ENGLISH.sub("", line))[0])
        if not title:
            return
        if "年鉴" in title:  # a yearbook is called by the year in which it appears, which is not that of its numbers
            self.remarks.append(f"{place}: {title}")
            return
        self._years |= {int(year) for year in _ANY_YEAR.findall(_without_bases(title))}
        if found := _INDICATOR.match(title):
            title = found[1]
            self._declared.append((title, place))
        elif _REMARK.match(title):
            region = _REGION.match(title)
            nation = "全国" if _NATIONAL.match(title) else None
            self.region = join_words(region[1]) if region else self.region or nation
            self.remarks.append(f"{place}: {title}")
            return
        _, unit_in_title = split_unit(_CONTINUED.sub("", title))
        if unit_in_title:
            self._units.append((unit_in_title, place))
        if re.fullmatch(r"\(.*\)", title):
            self.remarks += [] if unit_in_title else [f"{place}: {title}"]
            self._scopes += [title[1:-1]] if not unit_in_title and qualifies(title[1:-1]) else []
        elif not re.fullmatch(_YEARS, title) and title not in (known for known, _ in self.titles):
            self.titles.append((title, place))
            chinese = [known for known in self.titles if is_chinese(known[0])]
            self.titles = chinese or self.titles  # beside a Chinese title, another one is its translation


def name_indicator(title: str) -> str:
    """Return what a title counts: without table number, year, the words 各县市, 分地区 and the like in front, and without
    unit, year and 续表 in brackets behind; full-width brackets become half-width. "5-3 各县市粮食产量（吨）" is 粮食产量.
    """
    text, before = join_words(narrow(title)), ""
    while text != before:
        before = text
        for leading in _LEADING:
            if found := leading.match(text):
                text = text[found.end() :].strip()
        text = split_unit(_CONTINUED.sub("", text).strip())[0]
        if (found := _BRACKET.search(text)) and re.fullmatch(_YEARS, found[1]):
            text = text[: found.start()].strip()
    return text


def split_unit(words: str) -> tuple[str, str | None]:
    """Split "化肥施用量(万吨)" into the name and its unit; None where no unit that is known stands behind it.

    The unit stands in brackets or in a line of its own; that of an English translation counts where the Chinese has none.
    """
    words = narrow(words)
    if is_chinese(words) and (size := _SIZE.search(words)) and known_unit(size[1]):
        name, unit = split_unit(words[: size.start()])
        return name, unit or known_unit(size[1])
    text, translation = split_translation(words)
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and (unit := known_unit(lines[-1])):
        return join_words(" ".join(lines[:-1])), unit
    text = join_words(text)
    found = _BRACKET.search(text)
    if found and (unit := known_unit(found[1])):
        return text[: found.start()].strip(), unit
    behind = _BRACKET.search(translation)
    return text, known_unit(behind[1]) if behind else None


def _contradict(unit: str, other: str) -> bool:
    """Tell two units of one kind and of different size."""
    try:
        return unit != other and unit_ratio(unit, other, where="") != 1
    except DataError:
        return False


def is_rate(indicator: str) -> bool:
    """Tell a rate, a share, a rank or an index, or something below one, by its name."""
    return any(_RATE.search(name) for name in indicator.split(" / "))


def may_have(indicator: str, unit: str, *, alone: bool) -> bool:
    """Tell whether a unit that stands over a table or over a whole can be that of an indicator below it.

    It is none of a rate, a rank or an index unless it looks like one, none of a number of things if it is one of money, of people
    or of an area only if it counts these, and none of an average, such as one per head, unless the indicator stands `alone` or
    the unit is a small one.
    """
    if is_rate(indicator):
        return re.search("[%‰=/倍位点]", unit) is not None
    if unit.endswith("元") and _COUNT.search(indicator):
        return False
    if any(re.search(name, indicator) and not re.search(own, unit) for name, own in _OWN):
        return False
    if not alone and _YIELD.search(indicator):
        return "/" in unit
    return alone or _PER_HEAD.search(indicator) is None or "/" in unit or unit in ("元", "公斤", "千克", "吨", "平方米")


def known_unit(words: str) -> str | None:
    """Return a unit that yearbooks use as it is written; None for other words."""
    unit = "".join(words.split()).removeprefix("单位:")
    if _ENGLISH_UNIT.fullmatch(unit):
        return " ".join(words.split())
    return unit.translate(_POWERS) if _UNIT.fullmatch(unit.translate(_POWERS)) else None


@lru_cache(REMEMBERED)
def is_caption(text: str) -> bool:
    """Tell whether a cell gives the unit of the whole table and says nothing else."""
    found = _CAPTION.search(narrow(text).strip())
    return found is not None and not narrow(text)[: found.start()].strip(" (")


@lru_cache(REMEMBERED)
def is_title(text: str) -> bool:
    """Tell whether words begin with the number of a table."""
    return _NUMBER.match(join_words(narrow(text))) is not None


def has_year(words: str) -> bool:
    """Tell whether a year stands among other words, outside brackets ("2022年比上年增长")."""
    return _YEAR_AMONG.search(re.sub(r"\([^()]*\)", "", narrow(words))) is not None


def _read_caption(words: str) -> list[str]:
    """Return the units after 单位: one, or several where they are listed; a translation and a date are left out."""
    words = _ENGLISH.sub("", words)
    if unit := known_unit(words):
        return [unit]
    words = _FOREIGN.sub("", words) if is_chinese(words) else words
    first, *others = re.split(r"(?<!/)\s+(?!/)", words.strip())
    units = [_unwrap(unit) for unit in re.split("[、,;]", first)]
    units += [unit for unit in map(_unwrap, others) if _UNIT.fullmatch(unit) and (not unit.isascii() or unit in "%‰")]
    for separators in (r"[.·]", r"[()]"):  # 个.亿元, 万人(户)
        parts = [list(filter(None, re.split(separators, unit))) for unit in units]
        units = [
            part
            for unit, split in zip(units, parts, strict=True)
            for part in (split if len(split) > 1 and all(map(known_unit, split)) else [unit])
        ]
    return list(dict.fromkeys(filter(None, units)))


def _unwrap(unit: str) -> str:
    """Strip the brackets around a caption: "(上年=100)" and what is left of "(单位:元)"."""
    unit = "".join(unit.split())
    while unit.endswith(")") and (unit.count(")") > unit.count("(") or unit.startswith("(")):
        unit = unit[:-1].removeprefix("(") if unit.count(")") == unit.count("(") else unit[:-1]
    return unit


def _without_bases(title: str) -> str:
    """Leave out the years to which prices, indices and changes refer: (2015=100), 按2015年不变价计算, 2015年以来."""
    return _BASE.sub("", title)
