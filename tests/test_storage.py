"""Results are whole, the last ones or the new ones, whatever stops a run; one run at a time; names that become files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.figure
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from evalkit.cli import app, main
from evalkit.errors import ConfigError, EvalkitError, SourceError
from evalkit.reporting import Figures, papers
from evalkit.results.evidence import Desk, Evidence
from evalkit.results.filing import MOST_LETTERS, file_inside, fold_name, require_file_name
from evalkit.study import running, storage
from evalkit.study.config import read_study
from evalkit.study.storage import hold_lock
from tiny_results import FILES, NEW, OLD, calls, count_calls, hidden, make, reset, results, start_next


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project in a folder with spaces and Chinese characters that holds the results of a run."""
    folder = tmp_path / "碳 账户"
    folder.mkdir()
    make(folder, "old")
    assert results(folder) == OLD
    assert not hidden(folder)
    return folder


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (OSError(errno.EIO, "I/O error"), False),
        (PermissionError(13, "in use"), False),
        (KeyboardInterrupt(), False),
        (KeyboardInterrupt(), True),
    ],
)
def test_whatever_fails_once_leaves_old_or_new_whole(root: Path, error: BaseException, after: bool) -> None:
    """At every call of the file system in turn; an interrupt may come when the call has been carried out."""
    seen = []
    for at in range(1, count_calls(root) + 1):

        def act(number: int, do: Callable[[], Any], at: int = at) -> Any:
            if number != at:
                return do()
            if after:
                opened = do()
                if hasattr(opened, "close"):
                    opened.close()
            raise error

        with calls(act), suppress(EvalkitError, OSError, KeyboardInterrupt):
            make(root, "new")
        assert results(root) in (OLD, NEW), at
        seen.append(results(root))
        start_next(root)
        assert not hidden(root), at
        reset(root)
    assert OLD in seen
    assert NEW in seen


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), PermissionError(13, "in use")], ids=repr)
def test_a_disk_that_refuses_everything_from_some_moment_on(root: Path, error: OSError) -> None:
    """Not even undoing works then: the next start does it."""
    halves = 0
    for at in range(1, count_calls(root) + 1):

        def act(number: int, do: Callable[[], Any], at: int = at) -> Any:
            if number >= at:
                raise error
            return do()

        with calls(act), suppress(EvalkitError, OSError):
            make(root, "new")
        halves += results(root) not in (OLD, NEW)
        start_next(root)
        assert results(root) in (OLD, NEW), at
        assert not hidden(root), at
        reset(root)
    assert halves >= 5


def test_a_run_killed_at_any_moment_is_repaired_by_the_next(root: Path) -> None:
    """In a process of its own, which forks: nothing in it cleans up."""
    code = (
        "import sys; from pathlib import Path; import tiny_results as t; print(*t.kill_everywhere(Path(sys.argv[1])))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(storage.__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code, root], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    killed, halves = map(int, done.stdout.split())
    assert killed >= 20
    assert halves >= 5  # between the six moves of three places


def test_what_a_killed_run_left_is_put_back_and_said(root: Path) -> None:
    (root / "figures/s").rename(root / "kept")
    made = root / "data/processed/.evalkit-s.new"
    (made / "figures/s").mkdir(parents=True)
    (made / "old").mkdir()
    (root / "kept").rename(made / "old/0")
    listed = [{"new": "figures/s", "place": "figures/s", "replaces": True}]
    (made / "journal.json").write_text(json.dumps(listed), encoding="utf-8")
    said = start_next(root)
    assert said == [
        "the last run was stopped while it replaced results; put back: figures/s",
        "removed what a stopped run had left",
    ]
    assert results(root) == OLD
    assert not hidden(root)


def test_the_first_results_are_taken_away_again_where_not_all_could_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to put back, and nothing may stay."""
    rename = os.rename

    def refuse(source: Any, target: Any, **named: Any) -> None:
        if Path(target) == tmp_path / "analyses/s/a.pdf":
            raise PermissionError(13, "in use")
        rename(source, target, **named)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(SourceError, match="cannot be replaced"):
        make(tmp_path, "new")
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]
    assert not hidden(tmp_path)


@pytest.mark.parametrize("text", ["[{", "[3]", '[{"new": "a", "place": "../b", "replaces": true}]', '[{"place": "a"}]'])
def test_a_damaged_list_of_moves_moves_nothing(root: Path, text: str) -> None:
    """It could come with a project from elsewhere: no path in it leads out of the project."""
    made = root / "data/processed/.evalkit-s.new"
    (made / "old/0").mkdir(parents=True)
    (made / "journal.json").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=r"damaged.*by hand"):
        start_next(root)
    assert (made / "old/0").exists()
    assert results(root) == OLD


def test_what_was_put_by_hand_in_the_meantime_is_not_written_over(root: Path) -> None:
    made = root / "data/processed/.evalkit-s.new"
    (made / "old").mkdir(parents=True)
    (made / "a.pdf").write_text("new", encoding="utf-8")
    (root / "analyses/s/a.pdf").rename(made / "old/0")
    (root / "analyses/s/a.pdf").write_text("by hand", encoding="utf-8")
    listed = [{"new": "a.pdf", "place": "analyses/s/a.pdf", "replaces": True}]
    (made / "journal.json").write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(SourceError, match="something else stands there"):
        start_next(root)
    assert (root / "analyses/s/a.pdf").read_text(encoding="utf-8") == "by hand"
    assert (made / "old/0").read_text(encoding="utf-8") == "old"


# Windows: a file that a program has open cannot be renamed, nor the folder it lies in.


def hold(monkeypatch: pytest.MonkeyPatch, held: Path, times: int = sys.maxsize) -> None:
    """Refuse to move a file, or a folder above it, so many times."""
    left, rename = [times], os.rename

    def refuse(source: Any, target: Any, **named: Any) -> None:
        if left[0] and held.is_relative_to(source):
            left[0] -= 1
            raise PermissionError(13, "used by another process", os.fspath(source), 32, os.fspath(target))
        rename(source, target, **named)

    monkeypatch.setattr(os, "rename", refuse)


@pytest.mark.parametrize("place", FILES)
def test_a_file_open_in_excel_is_named_and_nothing_changes(
    root: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    hold(monkeypatch, root / place)
    with pytest.raises(SourceError, match=r"stay as they were.*Remedy: close .*Excel") as caught:
        make(root, "new")
    assert caught.value.where == str(root / place)
    assert results(root) == OLD
    assert not hidden(root)


@pytest.mark.parametrize("place", FILES)
def test_a_scanner_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    hold(monkeypatch, root / place, times=2)
    make(root, "new")
    assert results(root) == NEW


def test_results_that_cannot_be_put_back_are_kept_for_the_next_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Excel opens a new file in the instant before the next one is refused."""
    rename = os.rename

    def refuse(source: Any, target: Any, **named: Any) -> None:
        if Path(source) == root / "data/processed/s" and (root / "data/processed/s/estimates.csv").read_text() == "new":
            raise PermissionError(13, "used by another process")
        if Path(source) == root / "analyses/s/a.pdf":
            raise PermissionError(13, "used by another process")
        rename(source, target, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.raises(SourceError, match=r"cannot be put back.*first puts back what .*new keeps"):
            make(root, "new")
    assert results(root) != OLD
    assert "put back: data/processed/s" in start_next(root)[0]
    assert results(root) == OLD
    assert not hidden(root)


@pytest.mark.parametrize(("place", "kind"), [("figures/s", "file"), ("analyses/s/a.pdf", "folder")])
def test_what_is_not_a_result_is_not_taken_for_one(root: Path, place: str, kind: str) -> None:
    path = root / place
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("mine", encoding="utf-8")
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(SourceError, match=f"a {kind} stands where the run writes a"):
        make(root, "new")
    assert path.exists()
    assert not hidden(root)


# The lock

HOLD = """
import sys
from pathlib import Path
from evalkit.study.storage import open_staging
with open_staging(Path(sys.argv[1]), "s", print) as made:
    (made / "half").write_text("done")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_live_run_is_never_touched_and_a_dead_one_gives_way(root: Path) -> None:
    path = str(Path(storage.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    ) as live:
        assert live.stdout is not None
        assert live.stdout.readline() == "held\n"
        before = {one: one.read_bytes() for one in root.rglob("*") if one.is_file()}
        named = rf"going on \(process {live.pid} on {socket.gethostname()}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
        with pytest.raises(SourceError, match=named):
            make(root, "new")
        assert {one: one.read_bytes() for one in root.rglob("*") if one.is_file()} == before
        live.kill()
    assert "data/processed/.evalkit-s.new/half" in {str(one.relative_to(root)) for one in before}
    assert start_next(root) == ["removed what a stopped run had left"]
    make(root, "new")
    assert results(root) == NEW
    assert not hidden(root)


def test_two_runs_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "a/b/lock"
    with hold_lock(file):
        with pytest.raises(SourceError, match=f"process {os.getpid()}"), hold_lock(file):
            pass
        with hold_lock(file.with_name("of another study")):
            pass
    assert not [*tmp_path.iterdir()]  # nor the folders that it made


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"process": 1}'])
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text, encoding="utf-8")
    with hold_lock(tmp_path / "lock"):
        pass
    assert not [*tmp_path.iterdir()]


def left_by(computer: str) -> str:
    """What a lock says of a process with a number that lives: this one's."""
    return json.dumps({"process": os.getpid(), "computer": computer, "since": "2026-01-05 08:00:00+08:00"})


def test_a_number_given_to_a_new_process_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(left_by(socket.gethostname()), encoding="utf-8")
    with hold_lock(tmp_path / "lock"):
        pass


def test_a_lock_of_another_computer_is_left_to_people(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(left_by("the-other"), encoding="utf-8")
    with (
        pytest.raises(SourceError, match=r"on the-other, since 2026-01-05.*delete this file"),
        hold_lock(tmp_path / "lock"),
    ):
        pass
    assert (tmp_path / "lock").read_text(encoding="utf-8") == left_by("the-other")


def test_on_a_disk_without_locks_the_text_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_lock", lambda descriptor: None)
    file = tmp_path / "lock"
    with hold_lock(file):
        with pytest.raises(SourceError, match=f"process {os.getpid()}.*cannot be seen whether"), hold_lock(file):
            pass
        assert file.exists()
    assert not file.exists()


def test_a_lock_taken_away_between_opening_and_locking_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that held it ends just then: what was opened is no longer what others open."""
    file, lock, ended = tmp_path / "lock", storage._lock, []

    def take(descriptor: int) -> bool | None:
        if len(ended) < 2:
            ended.append(file.unlink())
        if len(ended) == 1:
            file.write_text("", encoding="utf-8")
        return lock(descriptor)

    monkeypatch.setattr(storage, "_lock", take)
    with hold_lock(file):
        assert json.loads(file.read_text(encoding="utf-8"))["process"] == os.getpid()


def test_windows_locks_behind_the_text_so_that_others_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[int, int]] = []

    def lock(descriptor: int, mode: int, size: int) -> None:
        if held:
            raise PermissionError(errno.EACCES, "Permission denied")
        held.append((os.lseek(descriptor, 0, os.SEEK_CUR), size))

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=lock, LK_NBLCK=2))
    monkeypatch.setattr(sys, "platform", "win32")
    with hold_lock(tmp_path / "lock"):
        assert held == [(1 << 30, 1)]
        with pytest.raises(SourceError, match=f"process {os.getpid()} on"), hold_lock(tmp_path / "lock"):
            pass
    assert not [*tmp_path.iterdir()]


# Whole studies

STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.csv"
[panel]
sources = ["farms"]
unit = "county"
time = "year"
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "EventStudy", leads = 2, lags = 1 }
inference = { kind = "Cluster" }
"""
PAPER = '#import "evalkit.typ": *\n#show: paper-en.with(title: [T], authors: [A], abstract: [B])\nText.\n'


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evidence]:
    root = tmp_path_factory.mktemp("project")
    study = root / "analyses/s"
    study.mkdir(parents=True)
    (root / "pyproject.toml").write_text("", encoding="utf-8")
    rows = [(f"县{i}", 2015 + t, 2018 if i < 3 else "", (i * 7 + t * t) % 5) for i in range(8) for t in range(6)]
    pd.DataFrame(rows, columns=["county", "year", "first", "y"]).to_csv(study / "farms.csv", index=False)
    (study / "study.toml").write_text(STUDY, encoding="utf-8")
    (study / "paper.typ").write_text(PAPER, encoding="utf-8")
    return root, running.run_study(study)


@pytest.fixture
def study(ran: tuple[Path, Evidence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with results; another run of it need not compute again."""
    monkeypatch.setattr(running, "evaluate_study", lambda config, say, kept: ran[1])
    monkeypatch.setattr(Figures, "write", lambda self, evidence, desk: (desk.figures / "x.csv").write_text("new"))
    shutil.copytree(ran[0], tmp_path / "project")
    return tmp_path / "project/analyses/s"


def everything(study: Path) -> dict[str, bytes]:
    root = study.parents[1]
    return {str(one.relative_to(root)): one.read_bytes() for one in sorted(root.rglob("*")) if one.is_file()}


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (pd.DataFrame, "to_csv"),
        (tempfile, "TemporaryDirectory"),
        (papers, "_compile"),
        (Path, "write_text"),
        (Path, "write_bytes"),
        (storage, "_flush"),
        (storage, "_write_journal"),
    ],
)
def test_a_full_disk_ends_with_a_sentence_and_the_old_results(
    study: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    before = everything(study)

    def refuse(*arguments: Any, **named: Any) -> None:
        raise FULL

    monkeypatch.setattr(owner, name, refuse)
    done = CliRunner().invoke(app, ["run", str(study)])
    assert done.exit_code == 2
    assert "the disk is full:" in done.stderr
    assert "the last results take 0." in done.stderr
    assert "Remedy: make room on it, at least 0." in done.stderr
    assert everything(study) == before


def test_a_disk_that_is_full_when_a_figure_is_saved(
    ran: tuple[Path, Evidence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda *arguments, **named: os.write(full, b"x"))
    with open("/dev/full", "wb") as device:
        full = device.fileno()
        with pytest.raises(SourceError, match="the disk is full"), storage.explain_failed_writes(tmp_path):
            Figures().write(ran[1], Desk(*[tmp_path] * 4))


@pytest.mark.parametrize("place", ["data/processed", "figures", "data/processed/s", "figures/s"])
def test_a_file_where_a_folder_belongs_is_named(study: Path, place: str) -> None:
    path = study.parents[1] / place
    shutil.rmtree(path)
    path.write_text("", encoding="utf-8")
    before = everything(study)
    done = CliRunner().invoke(app, ["run", str(study)])
    assert done.exit_code == 2
    assert f"{path}: a file stands where" in done.stderr
    assert everything(study) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.EIO, errno.EXDEV])
def test_every_other_refusal_is_a_sentence_too(study: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(self: Path, *arguments: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    done = CliRunner().invoke(app, ["run", str(study)])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"evalkit: {study.parents[1]}")
    assert "Remedy: " in done.stderr


STOPPED = {
    "en": "evalkit: stopped; results are replaced whole or not at all",
    "zh": "evalkit：已中止；结果要么整体替换，要么保持原样",
}


@pytest.mark.parametrize(
    "where", [(storage, "_write_journal"), (running, "evaluate_study")], ids=["moving", "estimating"]
)
@pytest.mark.parametrize(
    "asked", [[], ["--language", "zh"], ["--language=zh"], ["--language", "zh", "--language", "en"]]
)
def test_a_stopped_run_says_so_and_leaves_the_old_results(
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: tuple[Any, str],
    asked: list[str],
) -> None:
    before = everything(study)

    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*where, stop)
    monkeypatch.setattr(sys, "argv", ["evalkit", "run", str(study), *asked])
    monkeypatch.setattr(os, "environ", dict(os.environ))  # main sets the number of threads
    with pytest.raises(SystemExit, match="130"):
        main()
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(STOPPED["zh" if asked and "zh" in asked[-1] else "en"])
    assert [line for line in said if not line.startswith("…")] == said[-1:]
    assert everything(study) == before


def test_a_stopped_command_that_writes_nothing_says_so(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evalkit.study.explaining.explain_study", stop)
    monkeypatch.setattr(sys, "argv", ["evalkit", "explain", str(study), "--language", "zh"])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err == "evalkit：已中止；未写入任何文件\n"


def test_leftovers_are_put_back_even_where_the_study_can_no_longer_be_read(study: Path) -> None:
    before = everything(study)
    made = study.parents[1] / "data/processed/.evalkit-s.new"
    (made / "old").mkdir(parents=True)
    (study / "paper.pdf").rename(made / "old/0")
    listed = [{"new": "documents/paper.pdf", "place": "analyses/s/paper.pdf", "replaces": True}]
    (made / "journal.json").write_text(json.dumps(listed), encoding="utf-8")
    (study / "study.toml").write_text("[", encoding="utf-8")
    done = CliRunner().invoke(app, ["run", str(study)])
    assert done.exit_code == 2
    assert "put back: analyses/s/paper.pdf" in done.stderr
    assert everything(study) == before | {"analyses/s/study.toml": b"["}


@pytest.mark.parametrize(("number", "code", "says"), [(errno.EPIPE, 1, ""), (errno.ENOSPC, 2, "the disk is full")])
def test_a_reader_that_goes_away_or_is_full_meets_no_traceback(
    study: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, says: str
) -> None:
    """`| head`, and a file that takes no more: what is printed may not arrive."""
    echo = typer.echo

    def refuse(text: str, err: bool = False) -> None:
        if not err:
            raise OSError(number, os.strerror(number))
        echo(text, err=True)

    monkeypatch.setattr(typer, "echo", refuse)
    done = CliRunner().invoke(app, ["list"])
    assert done.exit_code == code
    assert isinstance(done.exception, SystemExit)
    assert says in done.stderr


# Names that become files

GOOD = [
    "main",
    "基准 回归",
    "large-farms",
    "CO₂",
    "v1.2",
    "2019 (revised)",
    "_x",
    "é" * 10,
    "基" * MOST_LETTERS,
    "console",
]
BAD = {
    "CO2/ha": "/ may not",
    "a\\b": "\\ may not",
    "../../../evil": ". /|/ may not|begin with",
    "/tmp/evil": "/ may not",
    "C:evil": ": may not",
    "x" * 300: "300 letters",
    "": "empty",
    "a\nb": "U+000A",
    "a\u200bb": "U+200B",
    "a\0b": "U+0000",
    "CON": "device",
    "nul": "device",
    "aux.csv": "device",
    "COM1": "device",
    "com¹": "device",
    "LPT9.x.y": "device",
    "end.": "drops",
    "end ": "drops",
    " start": "begin with",
    ".hidden": "begin with",
    "-rf": "begin with",
    "=1+1": "= may not",
    "a*": "* may not",
    'a"b': '" may not',
}


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_every_system_takes(name: str, tmp_path: Path) -> None:
    assert require_file_name(name, "here", taken=["other"]) == name
    longest = file_inside(tmp_path, f"finding_{name}_PlaceboAssignment12.csv")
    longest.write_text("", encoding="utf-8")


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_some_system_does_not_take(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_file_name(name, "analyses/s/study.toml, estimate 1")
    assert any(words in caught.value.what for words in BAD[name].split("|"))
    assert caught.value.where == "analyses/s/study.toml, estimate 1"
    assert "letters and digits of any script" in caught.value.remedy


@pytest.mark.parametrize(("one", "other"), [("Main", "main"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")])
def test_names_that_are_one_file_elsewhere(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)
    with pytest.raises(ConfigError, match=f"'{one}' and '{other}' would be one file"):
        require_file_name(one, "here", taken=["x", other])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "main"', 'name = "../../../evil"', "estimate 1"),
        ('name = "farms"', 'name = "CON"', "source 1"),
        ('name = "farms"', 'name = "Finding_main_LeaveOneOut"', "a source cannot be called"),
        ('name = "farms"', 'name = "Estimates"', "a source cannot be called"),
        (
            "[[estimate]]",
            '[[estimate]]\nname = "MAIN"\nestimator = { kind = "TwoWayFE" }\n[[estimate]]',
            "would be one file",
        ),
        (
            "[panel]",
            '[[step]]\nname = "FARMS"\nkind = "Inventory"\nactivity = "farms"\nfactors = "ipcc_2006"\nkeys = ["year"]\n[panel]',
            "step 'FARMS'",
        ),
    ],
)
def test_names_are_refused_where_the_study_is_read(study: Path, old: str, new: str, says: str) -> None:
    file = study / "study.toml"
    file.write_text(STUDY.replace(old, new), encoding="utf-8")
    before = everything(study)
    done = CliRunner().invoke(app, ["run", str(study)])
    assert done.exit_code == 2
    assert says in done.stderr
    assert everything(study) == before


def test_the_folder_of_a_study_is_such_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "a+b&c"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    for read in (read_study, running.run_study):
        with pytest.raises(ConfigError, match=r"'a\+b&c' cannot become the name of a file: & may not"):
            read(folder)
    assert [one.name for one in folder.iterdir()] == ["study.toml"]


def test_evidence_made_by_hand_takes_no_other_names(ran: tuple[Path, Evidence]) -> None:
    one = ran[1].estimates["main"]
    for study, names in (("../s", ["main"]), ("s", ["/tmp/evil"]), ("s", ["main", "Main"])):
        with pytest.raises(ConfigError):
            Evidence(study, dict.fromkeys(names, one), (), {})


def test_a_finding_writes_nowhere_else_and_over_no_other(ran: tuple[Path, Evidence], tmp_path: Path) -> None:
    checks = ("Pre", "Pre", "Pre2", "Pre2", "Pre")
    found = tuple(("main2", SimpleNamespace(check=one, table=pd.DataFrame())) for one in checks)
    made = Evidence("s", {"main2": ran[1].estimates["main"]}, found, {})  # type: ignore[arg-type]
    assert [*made.finding_tables()] == [f"finding_main2_Pre{end}" for end in ("", "2", "22", "23", "3")]
    for name in ("../x.csv", "/tmp/x.csv", "a/x.csv", "a\\x.csv"):
        with pytest.raises(ConfigError):
            file_inside(tmp_path, name)
