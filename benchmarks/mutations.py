"""How many small faults do the tests notice? Changes one operator, number or result at a time and runs the module's own tests.

    make mutants                                        500 of all faults, at random (the same ones each time): hours
    python benchmarks/mutations.py --number 50 --only numerics/wild.py

Nothing is written: each fault lives in a child process that imports the changed module (Linux and macOS).
A line per fault: killed (a test fails), survived (none does) or timeout; then the shares by folder.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.util
import os
import random
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FOLDERS = ("numerics", "results", "designs")
# The tests of a module are those that were written for it, quick ones first.
TESTS: dict[str, str] = {
    "numerics/absorb.py": "agreement sun_abraham dose",
    "numerics/arrays.py": "agreement",
    "numerics/clusters.py": "bias_reduced jackknife wild_bootstrap",
    "numerics/doubly_robust.py": "callaway_santanna",
    "numerics/extrapolate.py": "imputation two_stage",
    "numerics/glm.py": "callaway_santanna extended_twfe",
    "numerics/group_means.py": "pooled_groups",
    "numerics/honest.py": "sensitivity",
    "numerics/least_squares.py": "agreement",
    "numerics/permutation.py": "permutation checks",
    "numerics/power.py": "pre_trends by_design power",
    "numerics/reassigned.py": "permutation group_gaps",
    "numerics/simplex.py": "simplex synthetic",
    "numerics/wild.py": "wild_bootstrap multiplicity multiplier",
    "results/clusters.py": "by_design jackknife bias_reduced agreement",
    "results/estimation.py": "event_study split by_design",
    "results/evidence.py": "split study",
    "results/filing.py": "storage",
    "results/finding.py": "checks pre_trends",
    "results/fit.py": "agreement event_study bias_reduced",
    "results/summary.py": "by_design event_study bad_input",
    "results/uncertainty.py": "event_study by_design bias_reduced wild_bootstrap",
    "designs/adoption.py": "bad_input event_study",
    "designs/collapsing.py": "collapse",
    "designs/design.py": "bad_input panel",
    "designs/sample.py": "sample bad_input",
}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {
    "min": "max",
    "minimum": "maximum",
    "nanmin": "nanmax",
    "any": "all",
    "zeros": "ones",
    "sum": "mean",
    "floor": "ceil",
}
NAMES |= {other: name for name, other in NAMES.items() if name != "sum"}


Place = tuple[tuple[str, int | None], ...]  # the way from the top of a tree to a node


@dataclass(frozen=True)
class Fault:
    """One change: the module, and in its tree the place of a node and what stands there instead."""

    module: str
    tree: ast.Module
    place: Place
    node: ast.AST
    changed: ast.AST

    @property
    def line(self) -> int:
        return int(getattr(self.node, "lineno", 0))

    @property
    def source(self) -> str:
        """The whole module with the fault in it."""
        _put(self.tree, self.place, self.changed)
        text = ast.unparse(self.tree)
        _put(self.tree, self.place, self.node)
        return text

    def __str__(self) -> str:
        before, after = (ast.unparse(one).splitlines()[0] for one in (self.node, self.changed))
        return f"{self.module} line {self.line}: {before}  ->  {after}"


def list_faults(module: str) -> list[Fault]:
    """List every fault that can be planted in a module."""
    tree = ast.parse((SOURCE / "evalkit" / module).read_text(encoding="utf-8"))
    return [Fault(module, tree, place, node, changed) for place, node in _code(tree, ()) for changed in _changes(node)]


def _code(node: ast.AST, path: Place) -> Iterator[tuple[Place, ast.AST]]:
    """Walk over what runs: no annotations, no imports, and nothing that only makes an error's words."""
    yield path, node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params") or isinstance(
            node, ast.Raise | ast.Import
        ):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _code(child, (*path, (name, place)))


def _put(tree: ast.AST, path: Place, new: ast.AST) -> None:
    node: object = tree
    for name, place in path[:-1]:
        node = getattr(node, name) if place is None else getattr(node, name)[place]
    name, place = path[-1]
    if place is None:
        setattr(node, name, new)
    else:
        getattr(node, name)[place] = new


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the wrong forms of one node."""
    wrong = copy.copy(node)
    match node, wrong:
        case ast.Compare(ops=[one]), ast.Compare() if type(one) in COMPARISONS:
            wrong.ops = [COMPARISONS[type(one)]()]
            yield wrong
        case (ast.BinOp(op=one), ast.BinOp()) | (ast.AugAssign(op=one), ast.AugAssign()) if type(one) in ARITHMETIC:
            if not (isinstance(one, ast.BitOr) and isinstance(node, ast.BinOp) and _is_type(node.right)):
                wrong.op = ARITHMETIC[type(one)]()
                yield wrong
        case ast.BoolOp(op=one), ast.BoolOp():
            wrong.op = ast.Or() if isinstance(one, ast.And) else ast.And()
            yield wrong
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()), ast.UnaryOp():
            yield wrong.operand
        case ast.Constant(value=bool(value)), _:
            yield ast.copy_location(ast.Constant(not value), node)
        case ast.Constant(value=int(value)), _:
            yield ast.copy_location(ast.Constant(value + 1), node)
        case ast.Constant(value=float(value)), _:
            yield ast.copy_location(ast.Constant(value * 1.5 + (value == 0)), node)
        case ast.Attribute(attr=name), ast.Attribute() if name in NAMES:
            wrong.attr = NAMES[name]
            yield wrong
        case ast.Name(id=name), ast.Name() if name in NAMES and name != "sum":
            wrong.id = NAMES[name]
            yield wrong
        case ast.Return(value=ast.expr()), ast.Return():
            wrong.value = ast.Constant(None)
            yield wrong


def _is_type(node: ast.AST) -> bool:
    """Whether X | Y is a union of types."""
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id[:1].isupper())


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Give the import system the faulty source of one module."""

    def __init__(self, fault: Fault) -> None:
        self.name = "evalkit." + fault.module.removesuffix(".py").replace("/", ".")
        self.path, self.source = str(SOURCE / "evalkit" / fault.module), fault.source

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        return (
            importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None
        )

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        return self.source.encode()


def run_tests(fault: Fault | None, files: list[str], limit: int) -> str:
    """Run the test files in a child process until one fails: killed, survived or timeout."""
    child = os.fork()
    if not child:
        code = 3
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))  # a busy machine is not a fault
            code = _run_pytest(fault, files)
        finally:
            os._exit(code)  # nothing of the parent goes on here, whatever happened
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "timeout"
    return "survived" if status == 0 else "killed"


def _paths(names: str) -> list[str]:
    return [f"tests/test_{name}.py" for name in names.split()]


def _run_pytest(fault: Fault | None, files: list[str]) -> int:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(SOURCE), str(ROOT / "tests")]
    if fault is not None:
        sys.meta_path.insert(0, _Planted(fault))
    import pytest

    return min(int(pytest.main(["-x", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", *files])), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=500, help="how many faults, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--limit", type=int, default=120, help="seconds of the processor that the tests of one fault may take"
    )
    parser.add_argument("--only", nargs="*", default=[], help="modules, as in numerics/wild.py; all of them by default")
    parser.add_argument("--lines", type=int, nargs=2, help="first and last line of the code to change")
    parser.add_argument("--tests", help="names of test files, in place of the module's own")
    parser.add_argument("--trusted", action="store_true", help="do not run the tests without any fault beforehand")
    asked = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    os.chdir(ROOT)
    for name in ("narwhals", "pandas", "scipy.linalg", "scipy.stats", "statsmodels.api"):
        importlib.import_module(name)  # once, before each child does

    modules = asked.only or list(TESTS)
    missing = {path.relative_to(SOURCE / "evalkit").as_posix() for folder in FOLDERS
               for path in (SOURCE / "evalkit" / folder).rglob("*.py") if path.stem != "__init__"} - TESTS.keys()  # fmt: skip
    assert not missing, f"name the tests of {sorted(missing)} in TESTS"
    faults = [fault for module in modules for fault in list_faults(module)]
    if asked.lines:
        faults = [fault for fault in faults if asked.lines[0] <= fault.line <= asked.lines[1]]
    drawn = random.Random(asked.seed).sample(faults, min(asked.number, len(faults)))
    print(f"{len(drawn)} of {len(faults)} faults", flush=True)
    for files in () if asked.trusted else {asked.tests or TESTS[fault.module] for fault in drawn}:
        assert run_tests(None, _paths(files), asked.limit) == "survived", f"these tests fail without any fault: {files}"
    counts: dict[str, Counter[str]] = {}
    for number, fault in enumerate(drawn, start=1):
        found = run_tests(fault, _paths(asked.tests or TESTS[fault.module]), asked.limit)
        counts.setdefault(fault.module.split("/")[0], Counter())[found] += 1
        print(f"{number:4} {found:8} {fault}", flush=True)
    for folder, count in counts.items():
        rate = count["killed"] / count.total()
        print(f"{folder}: {count['killed']} of {count.total()} killed ({rate:.0%}), "
              f"{count['survived']} survived, {count['timeout']} ran out of time")  # fmt: skip


if __name__ == "__main__":
    main()
