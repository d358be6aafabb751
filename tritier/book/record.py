"""What a notebook depends on: the definitions of the package it can reach, each with the hash of its source.

A definition is a top-level function, class (with its methods) or assignment. The names used by the notebook's code
are resolved to definitions, the names used by those to further ones, and so on. The closure is read off the source,
without running it. It errs on the safe side: an object's methods come with its class, a module that is handed
around whole counts whole, and what a module does on import (registries, decorators that register) counts with it.
Names made from strings at run time would escape it, so the package makes none.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

BODY = "<import>"  # what a module does when it is imported
INERT = {"dataclass", "property", "cache", "lru_cache", "cached_property", "staticmethod", "classmethod", "wraps"}


def digest(content: str | bytes) -> str:
    """First 16 hex digits of SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def dotted(node: ast.AST) -> str | None:
    """``a.b.c`` of a chain of attributes on a name, else None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def names_used(node: ast.AST) -> set[str]:
    """Dotted names a piece of code uses, longest chains only, annotations and strings of annotations included."""
    found: set[str] = set()

    def visit(n: ast.AST) -> None:
        chain = dotted(n)
        if chain is not None:
            found.add(chain)
            return
        for child in ast.iter_child_nodes(n):
            visit(child)

    visit(node)
    return found


@dataclass(frozen=True)
class Module:
    """One source file of the package, parsed."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def definitions(self) -> dict[str, list[ast.stmt]]:
        """Statements that bind each top-level name; under ``BODY`` all that only acts on import."""
        found: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.setdefault(node.name, []).append(node)
                if not {(dotted(_called(d)) or "?").rpartition(".")[2] for d in node.decorator_list} <= INERT:
                    found.setdefault(BODY, []).append(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and (targets := _targets(node)):
                for name in targets:
                    found.setdefault(name, []).append(node)
            elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_text(node) and not _is_script(node):
                found.setdefault(BODY, []).append(node)
        return found

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name -> dotted origin, of every import in the file, nested ones included."""
        return imports_of(self.tree, self.name)

    def text(self, name: str) -> str:
        return "\n".join(source_of(self.source, node) for node in self.definitions[name])


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_script(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in names_used(node.test)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [e for t in targets for e in (t.elts if isinstance(t, (ast.Tuple, ast.List)) else [t])]
    return [t.id for t in flat if isinstance(t, ast.Name)] if all(isinstance(t, ast.Name) for t in flat) else []


def source_of(source: str, node: ast.stmt) -> str:
    """Source lines of a statement, decorators and inner comments included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(line.rstrip() for line in source.splitlines()[first - 1 : node.end_lineno])


def imports_of(tree: ast.AST, module: str) -> dict[str, str]:
    """Local name -> dotted origin of all imports in a tree; relative ones are resolved against ``module``."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            origin = ".".join(p for p in (base, node.module or "") if p)
            for alias in node.names:
                found[alias.asname or alias.name] = f"{origin}.{alias.name}"
    return found


class Package:
    """All modules of a package folder, and the closures of what uses them."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        files = {
            folder.name if f.stem == "__init__" else f"{folder.name}.{f.stem}": f for f in sorted(folder.glob("*.py"))
        }
        self.modules = {name: Module(name, f.read_text()) for name, f in files.items()}
        self._on_import: dict[str, list[tuple[str, str]]] = {}

    def resolve(self, origin: str) -> set[tuple[str, str]]:
        """Definitions that a dotted origin such as ``tritier.model.market.clear`` stands for; empty if outside."""
        parts = origin.split(".")
        if parts[0] != self.name:
            return set()
        if len(parts) > 1 and ".".join(parts[:2]) in self.modules:
            module, rest = self.modules[".".join(parts[:2])], parts[2:]
        else:
            module, rest = self.modules[self.name], parts[1:]
        if rest and rest[0] in module.definitions:
            return {(module.name, rest[0])}
        if rest and rest[0] in module.imports:
            return self.resolve(".".join([module.imports[rest[0]], *rest[1:]]))
        return {(module.name, name) for name in module.definitions}

    def used_by(self, names: set[str], imports: dict[str, str], module: Module | None = None) -> set[tuple[str, str]]:
        """Definitions that names stand for where these imports are in force."""
        found: set[tuple[str, str]] = set()
        for name in names:
            head, _, tail = name.partition(".")
            if module is not None and head in module.definitions:
                found.add((module.name, head))
            elif head in imports:
                found |= self.resolve(f"{imports[head]}.{tail}" if tail else imports[head])
        return found

    def closure(self, start: set[tuple[str, str]]) -> dict[str, str]:
        """``module:name`` -> hash of source, of everything reachable from the start."""
        seen: set[tuple[str, str]] = set()
        todo = list(start)
        while todo:
            module_name, name = key = todo.pop()
            if key in seen:
                continue
            seen.add(key)
            module = self.modules[module_name]
            for node in module.definitions[name]:
                todo += self.used_by(names_used(node), module.imports, module)
            todo += self.on_import(module_name)
        return {f"{m}:{n}": digest(self.modules[m].text(n)) for m, n in sorted(seen)}

    def on_import(self, name: str) -> list[tuple[str, str]]:
        """What importing a module runs: its own body and those of all it imports."""
        if name not in self._on_import:
            seen, todo = set(), [name]
            while todo:
                module = todo.pop()
                if module in self.modules and module not in seen:
                    seen.add(module)
                    todo += [".".join(o.split(".")[:2]) for o in self.modules[module].imports.values()]
            self._on_import[name] = [(m, BODY) for m in sorted(seen) if BODY in self.modules[m].definitions]
        return self._on_import[name]

    def of_notebook(self, path: Path) -> dict[str, str]:
        """The closure of a notebook's code cells; lines of IPython magic are not code."""
        cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        lines = [x for cell in cells for x in cell.splitlines() if not x.lstrip().startswith(("%", "!"))]
        tree = ast.parse("\n".join(lines))
        imports = imports_of(tree, "__main__")
        start = self.used_by(names_used(tree), imports)
        for origin in imports.values():
            start |= set(self.on_import(".".join(origin.split(".")[:2])))
        return self.closure(start)


# Which files a chapter opens: an audit hook that appends them to the file named by ``TRITIER_OPENED``.
#
# The runner puts a one-line ``sitecustomize`` on ``PYTHONPATH``, so the chapter's kernel and every worker process
# it starts record alike. One line per event: ``r``, ``w`` or ``l`` (read, written, directory listed), a tab, the path.
# Files that compiled code opens by itself are not seen; all readers of this package open theirs from Python.


VARIABLE = "TRITIER_OPENED"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_recording: list[int] = []


def record(path: str | None = None) -> None:
    """Start recording to ``path`` (default: the environment's). A second call does nothing."""
    target = path or os.environ.get(VARIABLE)
    if not target or _recording:
        return
    os.environ[VARIABLE] = target
    _recording.append(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple) -> None:
    if event == "open":
        path, mode, flags = args
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else bool((flags or 0) & WRITES)
        _note("w" if writes else "r", path)
    elif event == "os.rename":
        _note("w", args[1])
    elif event in ("os.listdir", "os.scandir"):
        _note("l", args[0] or ".")


def _note(kind: str, path: object) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return  # an already open descriptor
    text = os.path.abspath(os.fsdecode(path))
    if "\n" not in text:
        os.write(_recording[0], f"{kind}\t{text}\n".encode(errors="surrogateescape"))


def opened(path: Path) -> dict[str, set[str]]:
    """The record as sets of absolute paths, by kind; a file read back after it was written counts as written."""
    kinds: dict[str, set[str]] = {"r": set(), "w": set(), "l": set()}
    if path.exists():
        for line in path.read_text(errors="surrogateescape").splitlines():
            kind, _, name = line.partition("\t")
            if kind in kinds and name:
                kinds[kind].add(name)
    kinds["r"] -= kinds["w"]
    return kinds
