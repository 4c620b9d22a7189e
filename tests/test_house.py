"""The house: what may know of what, how long modules are, and that what exists is documented."""

import ast
import re
from functools import cache
from pathlib import Path

import click
import pytest

from relight.cli import main
from schemas.faults import fault_classes
from schemas.signature import Signature

ROOT = Path(__file__).parents[1]
FOLDERS = ("schemas", "ingest", "diagnose", "remediate", "relight")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MAY_IMPORT = {
    "schemas": {"schemas"},
    "ingest": {"ingest", "schemas"},
    "diagnose": {"diagnose", "schemas"},
    "remediate": {"remediate", "schemas"},
    "relight": set(FOLDERS),
}
WIRES = {"kafka", "elasticsearch", "click", "sqlite3"}
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Return the top-level names that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            found.add(str(node.module).partition(".")[0])
    return found


@each_module
def test_a_module_imports_only_what_its_folder_may_know(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    assert imported(path) & set(FOLDERS) <= MAY_IMPORT[folder]


@each_module
def test_only_the_shell_touches_wires(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "relight":
        assert not imported(path) & WIRES


@each_module
def test_a_module_opens_with_a_sentence(path: Path) -> None:
    assert (ast.get_docstring(tree(path)) or "").partition("\n")[0].endswith((".", ":"))


@each_module
def test_everything_public_says_what_it_is(path: Path) -> None:
    silent = [name for name, node in public(tree(path)) if not ast.get_docstring(node)]
    assert silent == []


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> list[tuple[str, ast.AST]]:
    """Return the public classes, functions and methods, with their names."""
    found: list[tuple[str, ast.AST]] = []
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            found.append((prefix + child.name, child))
            if isinstance(child, ast.ClassDef):
                found += public(child, f"{child.name}.")
    return found


@each_module
def test_a_module_has_at_most_350_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def document(*names: str) -> str:
    """Return the text of documents; a test of one that is not written yet is skipped."""
    paths = [ROOT / name for name in names]
    if missing := [str(path.relative_to(ROOT)) for path in paths if not path.exists()]:
        pytest.skip(f"{', '.join(missing)} is not written yet")
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def commands(command: click.Command, name: str = "relight") -> list[tuple[str, click.Command]]:
    """Return every command with its full name."""
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [(name, command), *(found for word, child in inner for found in commands(child, f"{name} {word}"))]


@pytest.mark.parametrize(("name", "command"), commands(main), ids=[name for name, _ in commands(main)])
def test_a_command_and_its_options_are_documented(name: str, command: click.Command) -> None:
    text = document("docs/cli.md")
    options = [o for p in command.params if isinstance(p, click.Option) for o in p.opts if o.startswith("--")]
    assert [word for word in (name, *options) if word not in text] == []


def test_every_fault_class_is_documented() -> None:
    text = document("docs/faults.md")
    assert [fault for fault in fault_classes() if fault not in text] == []


def test_every_field_of_a_signature_is_documented() -> None:
    text = document("docs/rules.md")
    names = [field.alias or name for name, field in Signature.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in text and f"{name}:" not in text] == []


def test_the_folder_docker_is_no_package_for_it_would_hide_the_one_of_that_name() -> None:
    assert not (ROOT / "docker" / "__init__.py").exists()


REGISTRIES = ("pypi", "pythonhosted", "npmjs", "crates", "proxy.golang", "repo1.maven", "deb.debian")
"""Package registries, by their hosts' names without the last part."""
TEXTS = (".py", ".md", ".yaml", ".yml", ".toml", ".csv", ".j2", ".html", ".json", ".txt", "Dockerfile")


def texts() -> list[Path]:
    """Return the files of the repository that people read."""
    known = (*FOLDERS, "tests", "bench", "demo", "docs", "docker")
    inside = [path for folder in known for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return [path for path in (*inside, *ROOT.glob("*")) if path.is_file() and path.name.endswith(TEXTS)]


def mentions(pattern: str) -> list[str]:
    wanted, own = re.compile(pattern), Path(__file__)
    return [str(p.relative_to(ROOT)) for p in texts() if p != own and wanted.search(p.read_text("utf-8", "replace"))]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert mentions(rf"\b(?:{'|'.join(map(re.escape, REGISTRIES))})\.(?:org|io|com)\b") == []


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    assert mentions(rf"{re.escape(str(ROOT))}\b|/Users/\w+/") == []
