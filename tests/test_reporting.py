"""Figures with their CSVs, and papers: what is drawn, in both languages, and the same bytes each time."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from pypdf import PdfReader

import evalkit as ek
from evalkit.catalogue import LANGUAGES, entries, message
from evalkit.checks import LeaveOneOut, PlaceboAssignment, PreTrends
from evalkit.errors import ConfigError
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster
from evalkit.reporting import Figures, Papers, Tables, plot, plot_finding
from evalkit.reporting._canvas import drawing_style, wrap_text
from evalkit.reporting.figures import list_pictures
from evalkit.reporting.finding_figures import EXHIBITS
from evalkit.results.estimation import Estimate
from evalkit.results.evidence import Desk, Evidence
from evalkit.results.finding import Chart, Finding

pytestmark = pytest.mark.filterwarnings("error")  # a glyph that no font has is a warning
PROJECT = Path(__file__).resolve().parents[1]
LABELS = {
    "co2": {"en": "CO₂ emissions", "zh": "CO₂ 排放量"},
    "county": {"en": "county", "zh": "县"},
    "large=0": {"en": "small farms", "zh": "小户"},
    "large=1": {"en": "large farms", "zh": "大户"},
}
DESIGN = ek.Design(outcome="co2", adoption="pilot_year", assigned_at="county")


def make_panel(treated: int, *, synthetic: bool = True) -> ek.Panel:
    """Eight counties of four farms over seven years, the first `treated` of them from the fourth year on."""
    draw = np.random.default_rng(7)
    rows = [
        (
            county,
            f"{county}-{farm}",
            2011 + year,
            draw.normal() + (0.5 if county <= treated and year >= 3 else 0.0),
            2014 if county <= treated else None,
            farm % 2,
        )
        for county in range(1, 9)
        for farm in range(4)
        for year in range(7)
    ]
    frame = pd.DataFrame(rows, columns=["county", "farm", "year", "co2", "pilot_year", "large"])
    provenance = (ek.Provenance("farms.csv", "0" * 64, synthetic=synthetic),)
    return ek.Panel.from_frame(frame, unit="farm", time="year", units={"co2": "t"}, provenance=provenance)


def make_evidence(treated: int, *, synthetic: bool = True, only: str | None = None) -> Evidence:
    panel = make_panel(treated, synthetic=synthetic)
    path = EventStudy(leads=2, lags=3)
    if only == "path":
        one = ek.estimate(panel, DESIGN, path, inference=Cluster())
        return Evidence("farms", {"path": one}, (("path", ek.check(one, PlaceboAssignment())[0]),), {}, LABELS)
    estimates = {
        name: ek.estimate(panel, DESIGN, estimator, inference=Cluster())
        for name, estimator in {"main": TwoWayFE(), "path": path}.items()
    }
    main = ek.check(estimates["main"], LeaveOneOut(), PlaceboAssignment(), PreTrends(estimator=path))
    findings = [("main", one) for one in main] + [("path", ek.check(estimates["path"], PlaceboAssignment())[0])]
    manifest = {"inputs": [{"path": "farms.csv", "sha256": "0" * 64}]}
    return Evidence("farms", estimates, tuple(findings), manifest, LABELS)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return make_evidence(treated=1)


def desk_at(folder: Path) -> Desk:
    """A desk whose four folders lie here."""
    desk = Desk(*(folder / name for name in ("home", "processed", "figures", "documents")))
    for path in (desk.home, desk.processed, desk.figures, desk.documents):
        path.mkdir(parents=True, exist_ok=True)
    return desk


@pytest.fixture(scope="module")
def supported() -> Estimate:
    return ek.estimate(make_panel(4), DESIGN, EventStudy(leads=2, lags=3), inference=Cluster())


@pytest.fixture(scope="module")
def exhibits(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = desk_at(tmp_path_factory.mktemp("desk"))
    written = Figures().write(evidence, desk)
    assert sorted(written) == sorted(desk.figures.iterdir())
    return desk.figures


@pytest.fixture
def ax() -> Axes:
    with drawing_style():
        return plt.figure(figsize=(5, 3), layout="constrained").subplots()


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    plt.close("all")


def words(ax: Axes) -> str:
    """All that a figure says, drawn once so that a missing glyph would warn."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    texts = [ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel(), *(text.get_text() for text in ax.texts)]
    legend = ax.get_legend()
    texts += [text.get_text() for text in legend.get_texts()] if legend is not None else []
    return " ".join(texts).replace("\n", " ")


def intervals(ax: Axes) -> list[np.ndarray]:
    return [
        segment for lines in ax.collections if isinstance(lines, LineCollection) for segment in lines.get_segments()
    ]


# ------------------------------------------------------------------------------------------------------------- exhibits


def test_every_exhibit_is_written_in_both_languages_beside_its_csv(exhibits: Path) -> None:
    names = (
        "path_event_study",
        "main_leave_one_out",
        "main_placebo_assignment",
        "path_placebo_assignment",
        "main_pre_trends",
    )
    expected = {f"{name}.csv" for name in names}
    expected |= {f"{name}_{language}.{ending}" for name in names for language in LANGUAGES for ending in ("png", "svg")}
    assert {path.name for path in exhibits.iterdir()} == expected


def test_csvs_hold_the_numbers_of_the_evidence_to_the_last_digit(evidence: Evidence, exhibits: Path) -> None:
    path = pd.read_csv(exhibits / "path_event_study.csv")
    assert path["estimate"].tolist() == evidence.estimates["path"].fit.coefficients.tolist()
    assert path.loc[path["base"], "event_time"].tolist() == [-1]
    placebo = pd.read_csv(exhibits / "path_placebo_assignment.csv")
    actual = placebo[placebo["actual"]].iloc[0]
    assert actual[path["term"].tolist()].tolist() == path["estimate"].tolist()
    assert actual["rank"] / len(placebo) == evidence.findings[3][1].p_value
    assert placebo["rank"].tolist() == placebo["statistic"].abs().rank(ascending=False).tolist()
    without = pd.read_csv(exhibits / "main_leave_one_out.csv")
    assert without["full_sample"].unique().tolist() == [evidence.estimates["main"].params["ATT"]]
    assert without.loc[without["estimate"].isna(), "left_out"].tolist() == [1]
    assert all(pd.read_csv(file)["synthetic"].all() for file in exhibits.glob("*.csv"))


def test_exhibits_have_the_same_bytes_in_another_process(evidence: Evidence, exhibits: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
        "from test_reporting import desk_at, make_evidence; from evalkit.reporting import Figures; "
        "Figures().write(make_evidence(treated=1, only='path'), desk_at(Path(sys.argv[2])))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "11", "PYTHONPATH": str(PROJECT / "src"), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-c", script, str(PROJECT / "tests"), str(tmp_path)], check=True, env=environment)
    assert len(list((tmp_path / "figures").iterdir())) == 10
    for file in (tmp_path / "figures").iterdir():
        assert file.read_bytes() == (exhibits / file.name).read_bytes(), file.name


def test_a_second_finding_of_the_same_kind_gets_its_own_name(evidence: Evidence) -> None:
    twice = Evidence("farms", {"main": evidence.estimates["main"]}, (evidence.findings[0],) * 2, {}, LABELS)
    assert [one.name for one in list_pictures(twice)] == ["main_leave_one_out", "main_leave_one_out_2"]


# -------------------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("language", LANGUAGES)
def test_intervals_are_drawn_where_the_design_supports_them(supported: Estimate, language: str) -> None:
    ax = plot(supported, language=language, labels=LABELS)
    table = supported.tidy().dropna(subset="conf_low")
    drawn = {tuple(segment[:, 1]) for segment in intervals(ax)}
    assert drawn == set(zip(table["conf_low"], table["conf_high"], strict=True))
    assert {"en": "95 % intervals", "zh": "95 % 置信区间"}[language] in words(ax)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("specification", ["main", "path"])
def test_intervals_that_the_design_does_not_support_are_dashed(
    evidence: Evidence, specification: str, language: str
) -> None:
    one = evidence.estimates[specification]
    ax = plot(one, language=language, labels=LABELS)
    table = one.tidy().dropna(subset="conf_low")
    assert not table["supported"].any()
    assert {tuple(segment[:, 1 if specification == "path" else 0]) for segment in intervals(ax)} == set(
        zip(table["conf_low"], table["conf_high"], strict=True)
    )
    dashes = [bars.get_linestyle()[0][1] for bars in ax.collections if isinstance(bars, LineCollection)]
    assert all(dashes)
    said = {"en": "Dashed: intervals (†)", "zh": "虚线为该设计无法支持的置信区间（†）"}[language]
    assert said.replace(" ", "") in words(ax).replace(" ", "")


def test_the_event_study_shows_base_adoption_and_bins(supported: Estimate) -> None:
    ax = plot(supported)
    hollow = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white"]
    assert [tuple(line.get_xydata()[0]) for line in hollow] == [(-1.0, 0.0)]
    assert any(list(line.get_xdata()) == [-0.5, -0.5] and line.get_linestyle() == "--" for line in ax.get_lines())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["≤−2", "−1", "0", "1", "2", "3"]
    assert ax.get_xlabel() == "Years since adoption"


def test_synthetic_data_are_named_in_every_title(evidence: Evidence, supported: Estimate) -> None:
    for language, said in (("en", "Synthetic data"), ("zh", "合成数据")):
        axes = [plot(supported, language=language)]
        for on, finding in evidence.findings:
            axes.append(plot_finding(finding, evidence.estimates[on], language=language, labels=LABELS))
        assert all(said in ax.get_title(loc="left").replace("\n", " ") for ax in axes)
    published = make_evidence(treated=1, synthetic=False)
    assert "Synthetic" not in words(plot(published.estimates["path"]))


def test_titles_in_papers_are_left_to_the_caption_unless_data_are_synthetic(exhibits: Path, tmp_path: Path) -> None:
    published = make_evidence(treated=1, synthetic=False)
    desk = desk_at(tmp_path)
    Figures().write(Evidence("farms", {"path": published.estimates["path"]}, (), {}, LABELS), desk)
    svg = "path_event_study_zh.svg"
    # Text is drawn as paths, each under a comment that holds the text.
    assert "合成数据" in (exhibits / svg).read_text(encoding="utf-8")
    assert "合成数据" not in (desk.figures / svg).read_text(encoding="utf-8")
    assert "实施前后各期的效应" not in (desk.figures / svg).read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_placebo_paths_put_the_actual_one_in_bold_over_all_others(evidence: Evidence, language: str) -> None:
    finding = evidence.findings[3][1]
    ax = plot_finding(finding, evidence.estimates["path"], language=language, labels=LABELS)
    paths = [line for line in ax.get_lines() if len(line.get_xdata()) == 6]
    assert len(paths) == 8
    bold = max(paths, key=lambda line: line.get_linewidth())
    assert bold.get_ydata().tolist() == evidence.estimates["path"].fit.coefficients.tolist()
    said = words(ax)
    assert {"en": "actual: county 1", "zh": "实际实施：县 1"}[language] in said
    assert re.search(rf"p.=.{finding.p_value:.3f}", said)
    assert f"{finding.bound:.3f}" in said


def test_placebo_effects_are_sorted_and_the_actual_one_is_marked(evidence: Evidence) -> None:
    finding = evidence.findings[1][1]
    ax = plot_finding(finding, evidence.estimates["main"], labels=LABELS)
    order = finding.table.sort_values("statistic")["treated"].tolist()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == order
    marked = [line for line in ax.get_lines() if line.get_marker() == "D"]
    assert [line.get_xdata().tolist() for line in marked] == [[finding.statistic]]


def test_many_assignments_become_a_histogram() -> None:
    one = ek.estimate(make_panel(4), DESIGN, TwoWayFE(), inference=Cluster())
    (finding,) = ek.check(one, PlaceboAssignment())
    ax = plot_finding(finding, one, language="zh", labels=LABELS)
    assert sum(bar.get_height() for bar in ax.patches) == 70
    assert "分配数" in words(ax)


@pytest.mark.parametrize(("language", "said"), [("en", "no effect can be estimated"), ("zh", "无法估计")])
def test_leaving_out_the_only_treated_unit_is_said_in_words(evidence: Evidence, language: str, said: str) -> None:
    ax = plot_finding(evidence.findings[0][1], evidence.estimates["main"], language=language, labels=LABELS)
    assert said in words(ax)
    assert len(ax.get_yticks()) == 8


def test_subgroups_and_their_paths_carry_the_readers_words(ax: Axes) -> None:
    panel = make_panel(4)
    split = ek.estimate(panel, DESIGN, Split(by="large", estimator=TwoWayFE()), inference=Cluster())
    assert plot(split, ax=ax, language="zh", labels=LABELS) is ax
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["小户", "大户"]
    both = Split(by="large", estimator=EventStudy(leads=2, lags=3))
    paths = plot(ek.estimate(panel, DESIGN, both, inference=Cluster()), labels=LABELS)
    assert "small farms large farms" in words(paths)
    assert "CO₂" in paths.get_ylabel()


def test_drawing_leaves_the_readers_settings_alone_and_does_not_heed_them(evidence: Evidence, tmp_path: Path) -> None:
    alone = Evidence("farms", {"path": evidence.estimates["path"]}, (), {}, LABELS)
    before = {path.name: path.read_bytes() for path in Figures().write(alone, desk_at(tmp_path / "a"))}
    with plt.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "red"}):
        after = {path.name: path.read_bytes() for path in Figures().write(alone, desk_at(tmp_path / "b"))}
        assert plt.rcParams["font.size"] == 20
    assert before == after


def test_every_check_is_drawn_and_the_numbers_drawn_stand_beside_it(evidence: Evidence, exhibits: Path) -> None:
    names = {path.stem.rsplit("_", 1)[0] for path in exhibits.glob("*.png")}
    assert {"main_leave_one_out", "main_placebo_assignment", "main_pre_trends", "path_event_study"} <= names
    leads, finding = pd.read_csv(exhibits / "main_pre_trends.csv"), evidence.findings[2][1]
    assert leads["estimate"].tolist() == finding.table["estimate"].tolist()
    # One treated county: the design supports no interval, so none is drawn, and the sentence below the figure says so.
    assert not {"conf_low", "conf_high"} & set(leads.columns)
    ax = plot_finding(finding, evidence.estimates["main"], language="zh", labels=LABELS)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == leads["term"].tolist()
    assert "".join(finding.sentence.text("zh", LABELS).split())[:20] in "".join(words(ax).split())


GENERAL = {
    "intervals": Chart("intervals", message("chart.pre_trends"), "value", ("name", "M"), "low", "high", marks=(0.5,)),
    "curve": Chart("curve", message("chart.power", alpha="5"), "value", ("M",), axis=message("chart.power_axis")),
    "counts": Chart("counts", message("chart.self_size"), "value", axis=message("chart.p_value"), marks=(0.05,)),
}


@pytest.mark.parametrize("kind", sorted(GENERAL))
@pytest.mark.parametrize("language", LANGUAGES)
def test_general_charts_draw_any_table(supported: Estimate, kind: str, language: str) -> None:
    rows = {
        "name": ["Cluster()", "大户"],
        "M": [0.5, -1.0],
        "value": [0.1, 0.4],
        "low": [0.0, -1.0],
        "high": [0.2, 2.0],
    }
    table = pd.DataFrame({**rows, "supported": [True, False]})
    finding = Finding("X", None, 0.1, 0.2, float("nan"), "described", message("verdict.pass"), table, GENERAL[kind])
    ax = plot_finding(finding, supported, language=language, labels=LABELS)
    assert GENERAL[kind].title.text(language) in ax.get_title(loc="left").replace("\n", "")
    if kind == "intervals":
        first, second = (tick.get_text() for tick in ax.get_yticklabels())
        assert first == f"{entries()['method-name.Cluster'][language]}, M = 0.5"
        assert second == "大户, M = \N{MINUS SIGN}1"
        (bars,) = (one for one in ax.collections if len(one.get_paths()))
        assert len(bars.get_paths()) == 1  # the interval that is not supported is left out


def test_every_kind_of_chart_that_a_check_names_is_an_exhibit() -> None:
    assert set(GENERAL) <= set(EXHIBITS)
    files = [*(PROJECT / "src/evalkit/checks").glob("*.py"), PROJECT / "src/evalkit/study/volumes.py"]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    assert set(re.findall(r'Chart\(\s*"(\w+)"', source)) == set(EXHIBITS)


def test_notes_break_between_characters_but_not_before_punctuation() -> None:
    lines = wrap_text("该设计得不到可信的置信区间，故未绘出。p = 0.250", 9)
    assert "".join(lines).replace("\N{NO-BREAK SPACE}", " ") == "该设计得不到可信的置信区间，故未绘出。p = 0.250"
    assert not any(line[0] in "，。" for line in lines)
    assert "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.250" in lines[-1]


def test_words_of_figures_have_the_same_blanks_in_both_languages() -> None:
    drawn = {key: text for key, text in entries().items() if key.startswith(("figure.", "unit.", "check."))}
    assert drawn
    for key, text in drawn.items():
        assert len({tuple(sorted(re.findall(r"{(\w+)", text[language]))) for language in LANGUAGES}) == 1, key


# --------------------------------------------------------------------------------------------------------------- papers


@pytest.fixture
def study(evidence: Evidence, exhibits: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A study's folder with one paper: give its body, get the paths of the PDFs."""
    made = desk_at(tmp_path)
    desk = Desk(tmp_path / "study", made.processed, exhibits, made.documents)
    desk.home.mkdir()
    Tables().write(evidence, desk)

    def compile_body(body: str, name: str = "paper.typ") -> tuple[Path, ...]:
        (desk.home / name).write_text('#import "evalkit.typ": *\n' + body, encoding="utf-8")
        return Papers().write(evidence, desk)

    return compile_body


def read_pdf(path: Path) -> str:
    return "".join("".join(page.extract_text() for page in PdfReader(path).pages).split())


def test_a_chinese_paper_keeps_its_words_and_subscripts(study, evidence: Evidence) -> None:  # type: ignore[no-untyped-def]
    (pdf,) = study(
        "#show: paper-zh.with(title: [农田 CO₂ 排放], authors: [作者], abstract: [摘要内容])\n= 结果\n"
        '效应为 #num(est("main", "ATT").estimate, 4) 吨 CO₂，−#num(1234.5, 0)。\n'
        '#noted-figure(picture("path", "event_study"), caption: [各期效应]) <fig:a>\n#ref(<fig:a>)',
        "paper_zh.typ",
    )
    text = read_pdf(pdf)
    for said in ("农田CO₂排放", "摘要：摘要内容", "一、结果", "吨CO₂", "图1", "合成数据"):
        assert said in text
    assert f"{evidence.estimates['main'].params['ATT']:.4f}".replace("-", "−") in text
    assert pdf.name == "paper_zh.pdf"


def test_tables_of_a_paper_hold_the_evidence(study, evidence: Evidence) -> None:  # type: ignore[no-untyped-def]
    (pdf,) = study(
        "#show: paper-en.with(title: [T])\n"
        '#regression-table(((head: [A], row: est("main", "ATT"), placebo: finding("PlaceboAssignment", "main"),'
        ' rank: rank-among("main")),), caption: [Effect], effects: (([Farm effects], (true,)),)) <tab:a>\n'
        "@tab:a #findings-table(caption: [Checks])"
    )
    text, row = read_pdf(pdf), evidence.estimates["main"].tidy().iloc[0]
    finding = evidence.findings[1][1]
    for said in (
        f"{row.estimate:.3f}({row.std_error:.3f})".replace("-", "−"),
        f"{finding.p_value:.3f}",
        f"{finding.bound:.3f}",
        "8(1/7)",
    ):
        assert said in text
    assert "*" not in text  # stars are withheld: the design does not support the p-value
    for said in ("FarmeffectsYes", "Table1.Effect", "inconclusive", "described", "alleffectsbeforeadoption"):
        assert said in text


def test_numbers_are_written_as_journals_write_them(study) -> None:  # type: ignore[no-untyped-def]
    (pdf,) = study(
        "[#num(-0.04061, 3)] [#num(18703, 0)] [#num(1234567.891, 2)] [#num(none, 2)] [#num(-0.0004, 2)] [#num(999, 0)]"
        "[#pct(0.1215, 1)] [#points(0.004, 1)] [#num(0.0999, 1)]"
    )
    expected = ("−0.041", "18,703", "1,234,567.89", "–", "0.00", "999", "12.2%", "0.4", "0.1")
    assert read_pdf(pdf) == "".join(f"[{said}]" for said in expected)


def test_papers_have_the_same_bytes_each_time(study) -> None:  # type: ignore[no-untyped-def]
    body = "#show: paper-en.with(title: [T])\nText.\n" + '#picture("main", "leave_one_out")'
    first = study(body)[0].read_bytes()
    assert study(body)[0].read_bytes() == first
    assert b"CreationDate" not in first


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('est("mian", "ATT")', r"specification 'mian'; there are: main, path"),
        ('est("main", "ATT(e=9)")', r"term of 'main' 'ATT\(e=9\)'; there are: ATT"),
        ('est("main", "ATT").p_valu', r"\"p_valu\".*did you mean 'p_value'"),
        ('finding("LeaveOneOut", "path")', r"finding of LeaveOneOut on 'path'; there are: main"),
        ('finding("Balance", "main")', r"check 'Balance'; there are: LeaveOneOut, PlaceboAssignment, PreTrends"),
        ('exhibit("main", "event_study")', r"exhibit 'main_event_study'; there are: main_leave_one_out"),
        ('least(exhibit("main", "leave_one_out"), "effect")', r"column 'effect'; there are: left_out, treated"),
        ('row-where(exhibit("main", "leave_one_out"), "left_out", "99")', r"no row has 'left_out' equal to \"99\""),
        ("num(1, 2", r"unclosed delimiter"),
        ('text(font: "Times New Roman")[x]', r"unknown font family.*Libertinus Serif"),
    ],
)
def test_a_paper_that_cannot_be_set_says_what_and_where(study, code: str, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=said) as caught:
        study(f"First line.\n\n#{code}\n")
    assert "study/paper.typ, line 4" in caught.value.where
    assert "/tmp" not in str(caught.value)


def test_papers_need_the_tables_of_a_run(evidence: Evidence, tmp_path: Path) -> None:
    desk = desk_at(tmp_path)
    (desk.home / "paper.typ").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no estimates\.csv.*run the study first"):
        Papers().write(evidence, desk)


# ---------------------------------------------------------------------------------------------- the papers of the study


def strip_code(source: str) -> str:
    """Leave the prose of a Typst file: code, strings, labels and math go; content blocks inside code stay."""
    source = re.sub(r"//[^\n]*", "", source)
    source = re.sub(r'"(?:\\.|[^"\\])*"', '""', source)
    source = re.sub(r"<[\w:-]+>|@[\w:-]+", "", source)
    prose, depth, i = list[str](), list[str](), 0
    while i < len(source):
        in_code = bool(depth) and depth[-1] in "({"
        char = source[i]
        if char == "#" and not in_code:
            statement = re.compile(r"#(let|import|show|set)\b[^\n\[({]*").match(source, i)
            call = re.compile(r"#[\w-]*(\.[\w-]+)*").match(source, i)
            i = (statement or call).end()  # type: ignore[union-attr]
            if i < len(source) and source[i] == "(":
                depth.append("(")
                i += 1
            continue
        if char in "([{" and (in_code or char == "["):
            depth.append(char)
        elif char in ")]}" and depth and depth[-1] == {")": "(", "]": "[", "}": "{"}[char]:
            depth.pop()
            after_call = re.compile(r"(\.[\w-]+)+(?=\()|(\.[\w-]+)+").match(source, i + 1)
            if char == ")" and not (depth and depth[-1] in "({") and after_call:
                i = after_call.end() - 1
                if source[i + 1 : i + 2] == "(":
                    depth.append("(")
                    i += 1
        elif not in_code:
            prose.append(char)
        i += 1
    return "".join(prose)


def test_the_search_for_numbers_sees_those_in_prose_only() -> None:
    code = '#let x = est("a", "ATT(e=3)")\n#show: paper.with(abstract: [We find 7.])\n'
    prose = strip_code(code + "#num(x.y, 3) is 0.12, #a.len() of 5, #text(size: 9pt)[in 8] @t:1")
    assert re.findall(r"\d+\.\d+|\d", prose) == ["7", "0.12", "5", "8"]


@pytest.mark.parametrize("name", ["paper.typ", "paper_zh.typ"])
def test_papers_hold_no_numbers_of_their_own(name: str) -> None:
    prose = strip_code((PROJECT / "analyses" / "jiangxi_insurance" / name).read_text(encoding="utf-8"))
    assert "2003" in prose  # the prose is still there
    left = re.sub(r"\b(19|20)\d\d(?!\d)|(?<!\d)(19|20)\d\d年?|5 %|CR1|SHA-256", "", prose)
    assert re.findall(r".{0,30}\d.{0,30}", left) == []
