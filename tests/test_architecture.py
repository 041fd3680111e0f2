"""What may import what, what the first import costs, and that every sentence exists in both languages and is used."""

from __future__ import annotations

import ast
import importlib
import json
import re
import string
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit.catalogue import LANGUAGES, entries

SOURCE = Path(str(evalkit.__file__)).parent
FAMILIES = ("estimators", "inference", "checks", "sources", "accounting", "claims")
CHOOSERS = ("inference/by_design.py",)  # what chooses among the members of its family (decision 0012)
ROOT_FILES = {"__init__", "__main__", "cli", "errors", "progress", "simulation", "verbs"}
MOST_NAMES = 20  # in a folder
HEAVY = {
    "pandas",
    "pyarrow",
    "scipy",
    "duckdb",
    "docx",
    "typst",
    "nicegui",
    "matplotlib",
    "statsmodels",
    "linearmodels",
}
HEAVY |= {"polars", "pyfixest", "jupyter", "tqdm"}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}

PROBE = """
import json, sys
sys.path.insert(0, {source!r})
import evalkit
dir(evalkit)
print(json.dumps(sorted(sys.modules)))
"""


def test_importing_is_light() -> None:
    code = PROBE.format(source=str(SOURCE.parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = json.loads(done.stdout)
    assert not HEAVY & set(loaded)


def test_every_name_of_the_notebook_loads() -> None:
    assert evalkit.__all__ == sorted(evalkit.__all__)
    for name in evalkit.__all__:
        assert getattr(evalkit, name) is not None
        assert name in dir(evalkit)
    with pytest.raises(AttributeError, match="has no attribute 'estimat'"):
        _ = evalkit.estimat


def test_type_checkers_see_the_same_names() -> None:
    tree = TREES[SOURCE / "__init__.py"]
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(evalkit.__all__) - {
        "accounting",
        "checks",
        "engines",
        "estimators",
        "inference",
        "regions",
        "sources",
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_exports_are_listed(family: str) -> None:
    module = importlib.import_module(f"evalkit.{family}")
    imported = {alias.name for node in TREES[SOURCE / family / "__init__.py"].body if isinstance(node, ast.ImportFrom)
                for alias in node.names}  # fmt: skip
    assert sorted(module.__all__) == sorted(imported)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of evalkit that a file imports, without the leading name, and the line."""
    for node in ast.walk(TREES[path]):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith("evalkit."):
                yield name.removeprefix("evalkit."), getattr(node, "lineno", 0)


def test_every_folder_is_on_a_floor() -> None:
    """The layers are written once, in pyproject.toml, where import-linter holds them; a folder must not be forgotten there."""
    settings = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (one["layers"] for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    named = [name.strip().removeprefix("evalkit.") for floor in layers for name in floor.split("|")]
    there = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert sorted(named) == sorted(there | ROOT_FILES - {"__init__", "__main__"})


def test_no_folder_is_crowded() -> None:
    crowded = {}
    for folder in {path.parent for path in TREES}:
        names = [path.name for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
        if folder != SOURCE and len(names) > MOST_NAMES:
            crowded[str(folder.relative_to(SOURCE))] = len(names)
    assert not crowded
    assert {path.stem for path in SOURCE.glob("*.py")} == ROOT_FILES


def defined(path: Path) -> Iterator[str]:
    """Names that a module binds at its top by class, function or assignment."""
    for node in TREES[path].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        for target in node.targets if isinstance(node, ast.Assign) else ():
            yield from (one.id for one in ast.walk(target) if isinstance(one, ast.Name))


def test_no_public_name_is_defined_twice() -> None:
    homes: dict[str, list[str]] = {}
    for path in TREES:
        for name in set(defined(path)):
            if not name.startswith("_"):
                homes.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_no_package_exports_the_name_of_its_module() -> None:
    """With lazy loading the first access would give the function, the second the module."""
    wrong = []
    for path in TREES:
        if path.name == "__init__.py":
            beside = {one.stem for one in path.parent.iterdir() if one.suffix == ".py" or one.is_dir()} - {"__init__"}
            bound = {alias.asname or alias.name for node in ast.walk(TREES[path]) if isinstance(node, ast.ImportFrom)
                     for alias in node.names}  # fmt: skip
            modules = {name for name in bound & beside if path == SOURCE / "__init__.py"} - {*FAMILIES, "regions"}
            wrong += [
                f"{path.relative_to(SOURCE)}: {name}" for name in (modules or bound & beside - {*FAMILIES, "regions"})
            ]
    assert not wrong


def test_underscore_modules_are_shared() -> None:
    """Parts of one member stand in its own file; a private module is what two or more members import."""
    importers: dict[str, set[Path]] = {}
    for path in TREES:
        for module, _ in imports(path):
            importers.setdefault(module, set()).add(path)
    lonely = []
    for path in TREES:
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if path.stem.startswith("_") and not path.stem.startswith("__") and len(importers.get(name, ())) < 2:
            lonely.append(name)
    assert not lonely


def test_files_know_nothing_of_what_they_hold() -> None:
    wrong = [
        f"{path.name} line {line} imports {module}"
        for path in sorted((SOURCE / "sources" / "files").glob("*.py"))
        for module, line in imports(path)
        if module.startswith("sources.") and not module.startswith("sources.files")
    ]
    assert not wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_members_of_a_family_do_not_import_one_another(family: str) -> None:
    wrong = []
    for path in sorted((SOURCE / family).rglob("*.py")):
        here = path.relative_to(SOURCE)
        if path.name == "__init__.py" or str(here.as_posix()) in CHOOSERS:
            continue
        shared = {
            "sources": ("sources.files", "sources.sidecar", "sources.persons", "sources.pseudonyms"),
            "claims": ("claims.claim",),
            "accounting": ("accounting",),
        }
        for module, line in imports(path):
            inside = module.startswith(f"{family}.")
            private = module.rsplit(".", 1)[-1].startswith("_") or module.startswith(shared.get(family, ()))
            own = len(here.parts) > 2 and module.startswith(".".join(here.parts[:2]))
            if inside and not private and not own:
                wrong.append(f"{here} line {line} imports {module}")
    assert not wrong


def test_numerics_is_arrays_in_values_out() -> None:
    wrong = []
    for path in sorted((SOURCE / "numerics").glob("*.py")):
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Import | ast.ImportFrom):
                name = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
                head = name.split(".")[0]
                inside = name.startswith("evalkit.numerics")
                if head not in (*sys.stdlib_module_names, "numpy", "scipy", "pyfixest") and not inside:
                    wrong.append(f"{path.name} imports {name}")
    assert not wrong


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", sorted(entries()))
def test_every_entry_speaks_all_languages(key: str) -> None:
    entry = entries()[key]
    assert set(entry) == set(LANGUAGES)
    assert placeholders(entry["en"]) == placeholders(entry["zh"])


def spoken_calls() -> Iterator[tuple[str, ast.Call]]:
    """Calls of message, say and Message whose key is written out, and of the method say."""
    for path, tree in TREES.items():
        catalogue = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "evalkit.catalogue"
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                by_name = isinstance(node.func, ast.Name) and node.func.id in catalogue & {"message", "say", "Message"}
                if by_name or (isinstance(node.func, ast.Attribute) and node.func.attr == "say"):
                    yield f"{path.relative_to(SOURCE)} line {node.lineno}", node


def test_every_key_exists_and_gets_its_values() -> None:
    wrong = []
    for where, node in spoken_calls():
        key = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        if key not in entries():
            wrong.append(f"{where}: no entry {key!r}")
            continue
        given = {keyword.arg for keyword in node.keywords}
        missing = placeholders(entries()[key]["en"]) - given
        if missing and None not in given and getattr(node.func, "id", "") != "Message":
            wrong.append(f"{where}: {key} lacks {sorted(missing)}")
    assert not wrong


def test_every_entry_is_used() -> None:
    templates = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.typ")))
    exact = set(re.findall(r'"([^"\n]+)"', templates))
    prefixes = set(re.findall(r'"([a-z-]+\.)" \+', templates))  # "paper." + word
    stems = set(re.findall(r'"([a-z]+-)" \+', templates))  # "group-" + word
    patterns: list[str] = []
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                exact.add(node.value)
            if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
                written = [re.escape(str(v.value)) if isinstance(v, ast.Constant) else "[^.]+" for v in node.values]
                if re.match(r"[a-z_]+\\\.", written[0]):
                    patterns.append("".join(written))

    def is_used(key: str) -> bool:
        prefix, _, rest = key.partition(".")
        word = rest.replace("_", "-")
        joined = f"{prefix}." in prefixes and (bool({rest, word} & exact) or word.startswith(tuple(stems)))
        return key in exact or joined or any(re.fullmatch(pattern, key) for pattern in patterns)

    assert not [key for key in entries() if not is_used(key)]


def test_no_number_depends_on_the_environment() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} line {node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and path.name != "cli.py"  # it sets the number of threads, and reads nothing
    ]
    assert not wrong


def test_nothing_learns_from_a_sentence_what_happened() -> None:
    """Facts are fields: the key of a Message is read, or exchanged for another, by the catalogue alone."""
    wrong = [
        f"{path.relative_to(SOURCE)} line {node.lineno}"
        for path, tree in TREES.items()
        if path.relative_to(SOURCE).parts[0] not in ("catalogue", "sources")  # sources have keys of tables
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "key")
        or (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "replace"
            and "key" in {k.arg for k in node.keywords}
        )
    ]
    assert not wrong


def test_no_broad_except() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} line {node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]
    assert not wrong
