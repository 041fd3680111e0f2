"""What may import what, what the first import costs, and that every sentence exists in both languages and is used."""

from __future__ import annotations

import ast
import importlib
import json
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit.catalogue import LANGUAGES, entries

SOURCE = Path(str(evalkit.__file__)).parent
FAMILIES = ("estimators", "inference", "checks", "sources", "accounting", "claims")
SPINE = (
    "errors units catalogue table claim columns gazetteer regions auditing periods mismatch joining placing "
    "prices panel derivation design adoption sample fit simulation law uncertainty bands summary estimation multiplicity "
    "diagnosis finding evidence"
).split()
CHOOSERS = ("inference/by_design.py",)  # what chooses among the members of its family (decision 0012)
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
HEAVY |= {"polars", "pyfixest", "jupyter"}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}

PROBE = """
import json, sys, time
sys.path.insert(0, {source!r})
start = time.perf_counter()
import evalkit
seconds = time.perf_counter() - start
dir(evalkit)
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def test_importing_is_light() -> None:
    runs = []
    for _ in range(3):
        code = PROBE.format(source=str(SOURCE.parent))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
        runs.append(json.loads(done.stdout))
    assert not HEAVY & set(runs[0][1])
    assert min(seconds for seconds, _ in runs) < 0.6  # measured 0.01 s; 0.6 s leaves room for a slow disk


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
    assert seen == set(evalkit.__all__) - {"accounting", "checks", "estimators", "inference", "sources"}


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


def test_the_spine_imports_only_what_stands_before_it() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} line {line} imports {module}"
        for i, name in enumerate(SPINE)
        for path in sorted({SOURCE / f"{name}.py", *(SOURCE / name).glob("*.py")} & set(TREES))
        for module, line in imports(path)
        if module not in SPINE[:i] and not module.startswith(f"{name}._")
    ]
    assert not wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_families_and_their_members_do_not_import_one_another(family: str) -> None:
    allowed_spine = {*SPINE, "numerics"}
    wrong = []
    for path in sorted((SOURCE / family).glob("*.py")):
        if path.name == "__init__.py":
            continue
        for module, line in imports(path):
            head, _, rest = module.partition(".")
            within = head == family and (rest.startswith("_") or f"{family}/{path.name}" in CHOOSERS)
            if not within and head not in allowed_spine:
                wrong.append(f"{family}/{path.name} line {line} imports {module}")
    assert not wrong


def test_numerics_is_arrays_in_values_out() -> None:
    wrong = []
    for path in sorted((SOURCE / "numerics").glob("*.py")):
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Import | ast.ImportFrom):
                name = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
                head = name.split(".")[0]
                inside = name.startswith("evalkit.numerics") or name == "evalkit.columns"  # the array types
                if head not in (*sys.stdlib_module_names, "numpy", "scipy") and not inside:
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


def test_no_broad_except() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} line {node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]
    assert not wrong
