"""The Changji study: its raw files are those its script writes, its numbers agree with other packages, bad input is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from scipy import stats

import oracles
from evalkit import Estimate
from evalkit.errors import EvalkitError
from evalkit.inference import Cluster
from evalkit.reporting import Tables
from evalkit.results.evidence import Desk, Evidence
from evalkit.study.config import read_study
from evalkit.study.running import build_panel, evaluate_study, load_tables, run_study
from evalkit.verbs import estimate

ROOT = Path(__file__).parents[1]
RAW = ROOT / "data/raw/changji_synthetic"
STUDY = ROOT / "analyses/changji"


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evaluate_study(read_study(STUDY))


@pytest.fixture(scope="module")
def farms() -> pd.DataFrame:
    """The panel as pandas alone would make it, with the literature's factors written out again."""
    f = pd.read_csv(RAW / "farms.csv")
    policy = pd.read_csv(RAW / "policy.csv")
    prices = pd.read_excel(RAW / "county_yearbook.xlsx", sheet_name="9-3", header=2, skipfooter=2, engine="openpyxl")
    prices["county"] = prices["县 市"].str.replace(" ", "")
    index = prices.melt("county", [f"{y}年" for y in range(2019, 2025)], "year", "index")
    index["year"] = index["year"].str.rstrip("年").astype(int)
    index = index.sort_values(["county", "year"])
    index["level"] = np.where(index["year"] == 2019, 1.0, index["index"] / 100)
    index["level"] = index.groupby("county")["level"].cumprod()
    f = f.merge(policy, on="county").merge(index, on=["county", "year"])
    carbon = 0.8956 * f["fertiliser"] + 4.9341 * f["pesticide"] + 5.18 * f["film"] + 0.5927 * 0.84 * f["diesel"]
    carbon += (3.126 * f["sown_area"] + 20.476 * f["irrigated_area"]) / 15
    f["log_cei"] = np.log(carbon * 44 / 12 / (f["output"] / f["level"]))
    f["treated"] = (f["year"] >= f["pilot_year"]).astype(float)
    f["large"] = f["area_mu"] >= 50
    return f


def main(evidence: Evidence, name: str = "main") -> Estimate:
    return evidence.estimates[name]


def test_the_raw_files_are_those_that_the_script_writes(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(STUDY)!r})\n"
        f"import pathlib, write_raw_files\nwrite_raw_files.main(pathlib.Path({str(tmp_path)!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    for folder in ("changji_synthetic", "changji_three_pilots_synthetic"):
        made, kept = tmp_path / "data/raw" / folder, ROOT / "data/raw" / folder
        assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in kept.iterdir())
        for path in sorted(kept.glob("*.csv")):
            one, other = pd.read_csv(made / path.name, dtype=str), pd.read_csv(path, dtype=str)
            # Last digits of logarithms differ between processors; what is rounded from them may differ by one unit.
            assert one.shape == other.shape
            assert (one.fillna("") == other.fillna("")).to_numpy().mean() > 0.9999
        cells = [
            [[c.value for c in row] for row in load_workbook(base / "county_yearbook.xlsx")["4-2"].iter_rows()]
            for base in (made, kept)
        ]
        assert cells[0] == cells[1]


def test_every_synthetic_file_says_so_and_the_published_ones_do_not(evidence: Evidence) -> None:
    inputs = {one["path"]: one["synthetic"] for one in evidence.manifest["inputs"]}
    for path in sorted(RAW.iterdir()):
        if not path.name.endswith(".provenance.toml"):
            assert inputs[f"data/raw/changji_synthetic/{path.name}"] is True
    assert inputs["data/raw/changji/budget.csv"] is False
    assert inputs["data/raw/changji/published_table2.csv"] is False
    factors = [path for path in inputs if "factor_sets" in path]
    assert len(factors) == 4  # of the convention, irrigation is a set of its own
    assert evidence.estimates_table()["synthetic"].all()


def test_the_intensity_is_that_of_hand_arithmetic(evidence: Evidence, farms: pd.DataFrame) -> None:
    panel = main(evidence).spec.panel.frame.sort_values(["farm", "year"])
    by_hand = farms.sort_values(["farm", "year"])
    # Densities and factors are multiplied in another order: rounding.
    np.testing.assert_allclose(panel["log_cei"], by_hand["log_cei"], rtol=0, atol=1e-12)


def test_the_headline_and_the_groups_are_those_of_pyfixest(evidence: Evidence, farms: pd.DataFrame) -> None:
    groups = {"ATT": ("main", farms), "ATT [area_mu>=50]": ("by_size", farms[farms["large"]])}
    groups["ATT [area_mu<50]"] = ("by_size", farms[~farms["large"]])
    for term, (name, rows) in groups.items():
        # Without the small-sample factor: pyfixest's count of nested effects depends on the hash seed.
        b, V = oracles.pyfixest_fit(
            "log_cei ~ treated | farm + year", rows, weights="weight", vcov={"CRV1": "county"}, k_fixef=None
        )
        one = replace(main(evidence, name).spec, inference=Cluster(correction="none")).run()
        assert one.params[term] == pytest.approx(float(b[0]), rel=1e-9)  # rounding of logs made in another order
        assert one.bse[term] == pytest.approx(float(V[0, 0]) ** 0.5, rel=1e-8)


def test_one_level_up_is_a_t_test_of_four_prefectures(evidence: Evidence, farms: pd.DataFrame) -> None:
    cells = farms.assign(after=farms["year"] >= 2022).groupby(["prefecture", "after"])
    means = cells.apply(lambda g: np.average(g["log_cei"], weights=g["weight"]), include_groups=False).unstack()
    d = means[True] - means[False]
    treated = d.index == "昌吉回族自治州"
    others = d[~treated]
    error = np.sqrt(others.var(ddof=1) * (1 + 1 / 3))
    row = main(evidence, "prefecture").tidy().iloc[0]
    effect = float(d[treated].iloc[0] - others.mean())
    assert (row["estimate"], row["std_error"]) == pytest.approx((effect, error), rel=1e-9)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(effect / error), 2), rel=1e-9)
    judged = evidence.alternatives_table().set_index(["level", "method", "estimand"])
    clustered = judged.loc[("prefecture", "Cluster", "as_specified")]
    assert not clustered["supported"]  # one treated cluster: shown, marked, not used
    alike = judged.loc[("prefecture", "PooledGroups", "alike")]
    assert (alike["estimate"], alike["p_value"]) == pytest.approx((effect, row["p_value"]), rel=1e-9)
    chosen = judged[judged["headline"]]
    assert list(chosen.index) == [("prefecture", "Permutation", "as_specified")]
    assert chosen["p_value"].iloc[0] == 0.25


def test_the_mechanism_is_counted_from_the_ledger(evidence: Evidence, farms: pd.DataFrame) -> None:
    loans = pd.read_csv(RAW / "loans.csv", dtype=str)
    smart = loans[loans["贷款用途"].str.contains("智慧农业") & loans["农户编号"].notna()]
    taken = set(zip(smart["农户编号"], smart["放款日期"].str[:4].astype(int), strict=True))
    panel = main(evidence).spec.panel.frame
    expected = [(farm, year) in taken for farm, year in zip(panel["farm"], panel["year"], strict=True)]
    assert panel["smart_loan"].tolist() == [float(one) for one in expected]
    after = panel[(panel["year"] >= 2022) & panel["pilot_year"].notna()]
    rates = after.groupby(after["area_mu"] >= 50)["smart_loan"].mean()
    assert rates[True] / rates[False] == pytest.approx(2.3, rel=0.15)  # 1,365 farm-years each: two standard errors


def test_no_personal_identifier_is_left(evidence: Evidence, tmp_path: Path) -> None:
    Tables().write(evidence, Desk(tmp_path, tmp_path, tmp_path, tmp_path))
    ledger = pd.read_csv(RAW / "loans.csv", dtype=str)
    text = "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    text += main(evidence).spec.panel.frame.to_csv()
    for column in ("证件号码", "户名", "客户号"):
        assert not [value for value in ledger[column].unique()[:200] if value in text]


def test_every_truth_has_its_estimate_and_lies_in_the_interval_one_level_up(evidence: Evidence) -> None:
    truth = evidence.references["truth"].frame.merge(evidence.estimates_table(), on=["specification", "term"])
    assert len(truth) == len(evidence.references["truth"].frame)
    up = main(evidence, "prefecture").conf_int().iloc[0]
    assert up["conf_low"] < -0.123 < up["conf_high"]


def test_coverage_is_as_claimed_and_falls_short_where_shocks_are_shared(evidence: Evidence) -> None:
    table = evidence.references["coverage"].frame
    assert (table["worlds"] == 500).all()
    att = table[(table["term"] == "ATT") & (table["world"] == "seven pilots")].set_index(["shared", "method"])
    assert 0.93 <= att.loc[(0.0, "county, pooled"), "coverage"] <= 0.97
    assert att.loc[(0.2, "county, clustered"), "coverage"] < 0.87
    assert att.loc[(0.2, "prefecture, pooled"), "coverage"] >= 0.93


def test_all_seventeen_claims_are_judged(evidence: Evidence) -> None:
    table = evidence.claims_table()
    assert table["id"].tolist() == [str(i) for i in range(1, 18)]
    assert table["computed"].notna().all()
    assert set(table["verdict"]) == {"consistent", "contradicted", "impossible", "unsupported", "ambiguous"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The study with its raw files in a project of its own, on one estimate."""
    for folder in ("data/raw/changji", "data/raw/changji_synthetic"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
        for sidecar in (tmp_path / folder).glob("*.provenance.toml"):  # the files are changed below
            text = sidecar.read_text(encoding="utf-8")
            sidecar.write_text(re.sub(r"^sha256 = .*$", "", text, flags=re.M), encoding="utf-8")
    home = tmp_path / "analyses/changji"
    home.mkdir(parents=True)
    for name in ("claims.toml", "coverage.csv"):
        shutil.copyfile(STUDY / name, home / name)
    sections = re.split(r"^(?=\[)", (STUDY / "study.toml").read_text(encoding="utf-8"), flags=re.M)
    kept = [one for one in sections if not one.startswith(("[[estimate]]", "[[check]]")) or 'name = "main"' in one]
    (home / "study.toml").write_text("".join(kept), encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    return tmp_path


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def without_caption(root: Path) -> None:
    path = root / "data/raw/changji_synthetic/county_yearbook.xlsx"
    book = load_workbook(path)
    book["4-2"]["H2"] = None
    book.save(path)


def declared_in_tonnes(root: Path) -> None:
    replace_in(root / "data/raw/changji_synthetic/farms.csv.provenance.toml", 'fertiliser = "kg"', 'fertiliser = "t"')


def factor_not_printed(root: Path) -> None:
    replace_in(root / "analyses/changji/study.toml", '"pesticide", "film"', '"film"')


def claim_that_divides_by_zero(root: Path) -> None:
    replace_in(root / "analyses/changji/claims.toml", "over = [1000]", "over = [0]")


def claim_about_a_year_not_in_the_series(root: Path) -> None:
    path = root / "data/raw/changji/budget.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("昌吉州,2021,297.69\n", ""), encoding="utf-8")


def farm_in_another_prefecture(root: Path) -> None:
    path = root / "data/raw/changji_synthetic/farms.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(652301-001,202[34]),昌吉市", r"\1,乌苏市", text), encoding="utf-8")


def county_misspelt(root: Path) -> None:
    replace_in(root / "data/raw/changji_synthetic/policy.csv", "木垒哈萨克自治县", "木垒哈萨克族自治县")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_caption, ["county_yearbook.xlsx", "4-2", "农村居民人均可支配收入", "unit"]),
        (declared_in_tonnes, ["farms.csv", "fertiliser", "kg"]),
        (factor_not_printed, ["pesticide", "changji_2022", "leave_out"]),
        (claim_that_divides_by_zero, ["claim 7"]),
        (claim_about_a_year_not_in_the_series, ["claim 12", "2021"]),
        (farm_in_another_prefecture, ["652301-001", "乌苏市"]),
        (county_misspelt, ["policy.csv", "木垒哈萨克族自治县", "木垒哈萨克自治县"]),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    project: Path, spoil: Callable[[Path], None], says: list[str]
) -> None:
    spoil(project)
    with pytest.raises(EvalkitError) as caught:
        run_study(project / "analyses/changji")
    for words in says:
        assert words in str(caught.value)
    assert str(project) not in str(caught.value)
    assert not (project / "data/processed").exists()


def test_a_farm_that_moves_within_the_prefecture_stays_where_it_was_and_is_named(project: Path) -> None:
    path = project / "data/raw/changji_synthetic/farms.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(652301-001,202[34]),昌吉市", r"\1,阜康市", text), encoding="utf-8")
    config = read_study(project / "analyses/changji")
    planned = config.estimates["main"]
    panel = build_panel(config, load_tables(config))
    one = estimate(panel, planned.design, planned.estimator, inference=planned.inference)
    assert "652301-001: 昌吉市 → 阜康市 (2023)" in one.summary()
    assert one.glance()["n_clusters"].iloc[0] == 18
