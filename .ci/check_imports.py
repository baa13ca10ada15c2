"""Hold the house to its plan: the directions of imports, what may be heavy, the length of files.

`docs/architecture.md` says what is checked here and why. Prints each breach and ends with 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# From the ground up: a module imports from earlier rows and, without a circle, from its own.
ROWS: tuple[tuple[str, ...], ...] = (
    ("kernel",),
    ("errors",),
    ("_isa",),
    (
        *(
            "axes",
            "book",
            "console",
            "expressions",
            "files",
            "frames",
            "markets",
            "metrics",
            "moments",
            "quotes",
            "schedule",
            "settings",
        ),
        *("sketch", "tables", "venue"),
    ),
    (
        *("columns", "controls", "designs", "distributions", "objectives", "pairs", "scenario", "statistics"),
        *("summaries", "tails", "whole"),
    ),
    ("policies",),
    ("simulation",),
    ("engine", "orders", "plan", "tape", "tape_files", "tape_formats", "tape_writing"),
    (
        "chunks",
        "comparison",
        "datasets",
        "directory",
        "packing",
        "precision",
        "question",
        "records",
        "refusals",
        "rounds",
        "sensitivity",
        "shelf",
        "store",
        "study",
        "study_files",
        "tasks",
        "workers",
    ),
    ("bot", "logger", "snapshot"),
    ("layers", "session"),
    ("feeds", "live"),
    ("bot_view",),
    ("runner",),
    ("splitting",),
    (
        *("calibration", "estimate", "fitted", "fitting", "fitting_flow", "fitting_price", "fitting_sizes"),
        *("listing", "recorded", "verification"),
    ),
    ("reports",),
    ("arguments",),
    (
        *("bot_commands", "calibrate_commands", "recorded_commands", "report_command"),
        "sweep_commands",
    ),
    ("cli",),
    ("__main__",),
)
# The compiled core, and who may touch it.
CORE = ("_core", "_isa")
CORE_USERS = ("bot", "engine", "moments", "plan", "sketch", "_isa")
# Slow to import: only inside the function that needs it.
HEAVY = (
    *("distributed", "jinja2", "joblib", "pandas", "plotly", "pyarrow", "ray", "rich", "scipy.stats"),
    "xarray",
)
LONGEST = 500
CHECKED_FOR_LENGTH = ("mcmm", "tests", "benchmarks", ".ci", "setup.py")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
Import = tuple[str, int, bool]


def module_name(path: Path, root: Path) -> str:
    """Return a file's dotted module name, as mcmm.reports.page."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """Return the room of a module: mcmm.reports.page is in reports, mcmm itself in no room."""
    return module.split(".")[1] if "." in module else ""


def type_checking_only(node: ast.AST) -> bool:
    """Whether this is the `if TYPE_CHECKING:` block."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def find_imports(tree: ast.AST, module: str, *, at_import: bool = True) -> Iterator[Import]:
    """Yield (imported module, line, whether it is imported along with its importer)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, at_import
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level]
                base = ".".join([*package, base]).strip(".")
            for alias in node.names:
                yield (f"{base}.{alias.name}", node.lineno, at_import)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant)]
            yield from ((name, node.lineno, at_import) for name in names)
        later = isinstance(node, FUNCTIONS) or type_checking_only(node)
        yield from find_imports(node, module, at_import=at_import and not later)


def check_python(path: Path, root: Path, edges: dict[str, set[str]]) -> Iterator[str]:
    """Yield the breaches of one Python file of the package; note its imports of other modules in `edges`."""
    module = module_name(path, root)
    here = room(module)
    rank = {name: row for row, names in enumerate(ROWS) for name in names}
    if here and here not in rank:
        yield f"{path}: room {here!r} has no place in the house; give it one in .ci/check_imports.py"
        return
    try:
        tree = ast.parse(path.read_text("utf-8"), path)
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: {error.msg}"
        return
    for name, line, at_import in find_imports(tree, module):
        place = f"{path}:{line}"
        heavy = next((slow for slow in HEAVY if name == slow or name.startswith(f"{slow}.")), None)
        if heavy is not None and at_import:
            yield f"{place}: {heavy} is slow to import: import it inside the function that needs it"
        if name != "mcmm" and not name.startswith("mcmm."):
            continue
        there = room(name)
        if there in CORE and here not in CORE_USERS:
            yield f"{place}: only {', '.join(CORE_USERS)} may touch the compiled core"
        if not here or there in ("", "__version__", "_core"):
            continue
        if there not in rank:
            yield f"{place}: {name} is no module; import a name from the module that defines it"
        elif rank[there] > rank[here]:
            yield f"{place}: {here} may not import {there}, which is above it"
        elif there != here:
            edges.setdefault(here, set()).add(there)


def check_core(path: Path) -> Iterator[str]:
    """Yield the breaches of one Cython file: it may cimport the kernel, and import nothing of mcmm."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        imports = re.match(r"\s*(?:from\s+(mcmm[\w.]*|\.[\w.]*)\s+import\b|import\s+(mcmm[\w.]*))", line)
        if imports:
            yield f"{path}:{number}: the compiled core may import nothing of mcmm's Python"
        cimports = re.match(r"\s*(?:from\s+(mcmm[\w.]*)\s+cimport\b|cimport\s+(mcmm[\w.]*))", line)
        if cimports and not (cimports[1] or cimports[2]).startswith("mcmm.kernel"):
            yield f"{path}:{number}: the compiled core takes its rules from mcmm.kernel alone"


def check_circles(edges: dict[str, set[str]]) -> Iterator[str]:
    """Yield a breach for the first circle found among rooms of one row."""
    finished: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> str | None:
        if name in trail:
            return " -> ".join([*trail[trail.index(name) :], name])
        if name in finished:
            return None
        circles = (walk(other, (*trail, name)) for other in sorted(edges.get(name, ())))
        circle = next(filter(None, circles), None)
        finished.add(name)
        return circle

    circles = (walk(name, ()) for name in sorted(edges))
    yield from (f"imports in a circle: {circle}" for circle in circles if circle)


def check_names(root: Path) -> Iterator[str]:
    """Yield a breach for each module that bears the name of a public function, which it would hide."""
    tree = ast.parse((root / "mcmm/__init__.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
            for name in ast.literal_eval(node.value):
                if (root / "mcmm" / f"{name}.py").exists() or (root / "mcmm" / name).is_dir():
                    yield f"mcmm/{name}: a module of this name would hide the function mcmm.{name}"


def check_lengths(root: Path) -> Iterator[str]:
    """Yield a breach for each source file that is too long to be read in one sitting."""
    for place in CHECKED_FOR_LENGTH:
        paths = [root / place] if (root / place).is_file() else (root / place).rglob("*")
        for path in sorted(paths):
            if path.suffix in (".py", ".pyi", ".pyx", ".pxd", ".h") and "__pycache__" not in path.parts:
                lines = len(path.read_text("utf-8").splitlines())
                if lines >= LONGEST:
                    yield f"{path}: {lines} lines; a file has fewer than {LONGEST}"


def check(root: Path) -> list[str]:
    """Return every breach in the tree under `root`."""
    breaches: list[str] = []
    edges: dict[str, set[str]] = {}
    for path in sorted((root / "mcmm").rglob("*.py")):
        breaches += check_python(path, root, edges)
    for path in sorted([*(root / "mcmm").rglob("*.pyx"), *(root / "mcmm").rglob("*.pxd")]):
        breaches += check_core(path)
    return [*breaches, *check_circles(edges), *check_names(root), *check_lengths(root)]


def main() -> int:
    """Print the breaches; 1 if there is one."""
    root = Path(__file__).resolve().parent.parent
    breaches = check(root)
    for breach in breaches:
        print(breach.replace(f"{root}/", ""))
    if not breaches:
        print("imports run one way")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
