"""Run the commands and Python blocks of Markdown pages, and check or renew the output they show.

    python docs/snippets.py README.md docs/quickstart.md            # check
    python docs/snippets.py --update README.md docs/quickstart.md   # renew

Blocks of a page run in order in one empty folder. Of a ``console`` block every line that starts
with ``$`` is run and what follows it is its output; a ``python`` block is run in the page's own
namespace, and a ``text output`` block right after it is what it printed; ``{code-cell}`` blocks
are run as in a notebook. Words of an output must be the same; numbers may differ by a tenth, or by
.011. An output without any line is not compared; a line ``...`` stands for any lines. Plain
``sparsefit`` commands run in this process, which saves the imports; with ``--processes`` each gets
its own, as in a terminal.

Some blocks cannot run in an empty folder. What comes after the language says how they are run:

- ``needs: NAME``: in a folder that tests/docs/test_prepared.py prepares, such as a folder with
  checkpoints. Further words, separated by commas: ``long`` (only with ``pytest --run-long``),
  ``timed`` (exit status 1 says that a goal of time was missed), ``table below`` (the Markdown
  tables that follow show what the command prints), and last ``shortened by: ARGUMENTS`` (added to
  the command, whose output is then not compared);
- ``no-run: run by .ci/run``: an installation, by no test but by CI.

This script leaves both kinds alone.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FENCE = re.compile(
    r"^(?P<mark>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=mark)[ \t]*$", re.DOTALL | re.MULTILINE
)


_TERMINAL = {"COLUMNS": "100", "MPLBACKEND": "Agg"}

# A command without anything that only a shell understands.
_PLAIN = re.compile(r"sparsefit [^|&;<>$`*?~(){}!#\\]+")

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


class SnippetError(Exception):
    """A block fails, or shows output that it does not have."""


@dataclass
class Block:
    """A fenced block: its language, the rest of its info, its text, and where it stands."""

    language: str
    info: str
    body: str
    line: int
    span: tuple[int, int]

    @property
    def skipped(self) -> str | None:
        """Why the block is not run."""
        return self._after("no-run")

    @property
    def needs(self) -> str | None:
        """Name of the folder that the block has to be run in."""
        found = self._after("needs")
        return found.split(",")[0] if found else None

    @property
    def added(self) -> str:
        """Arguments that make the block's commands short enough for a test."""
        return self._after("shortened by") or ""

    def says(self, word: str) -> bool:
        """Whether a word stands by itself between the commas of the info."""
        return word in re.split(r",\s*", self.info.split("shortened by:")[0])

    def _after(self, key: str) -> str | None:
        found = re.search(rf"(?:^|\s){key}:\s*(.+)", self.info)
        return found.group(1).strip() if found else None


@dataclass
class Page:
    """State that the blocks of a page share."""

    source: str
    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})


def blocks_of(text: str) -> list[Block]:
    """All fenced blocks of a Markdown text."""
    found = []
    for match in _FENCE.finditer(text):
        words = match["info"].strip()
        language, _, info = words.partition(" ")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(language, info, match["body"], line, match.span("body")))
    return found


def run_page(path: Path, update: bool = False, processes: bool = False) -> str:
    """Run a page; returns its text, with renewed output where asked for.

    Parameters
    ----------
    path : Path
        The page.
    update : bool
        Renew the outputs shown instead of comparing them.
    processes : bool
        Give each ``sparsefit`` command a process of its own.

    Raises
    ------
    SnippetError
        Names the page and line of a block that fails or shows other output.
    """
    text = path.read_text(encoding="utf-8")
    changes: list[tuple[tuple[int, int], str]] = []
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        page = Page(str(path), Path(folder))
        os.chdir(folder)
        try:
            printed: str | None = None
            for block in blocks_of(text):
                where = f"{path.name}, line {block.line}"
                if block.language == "text" and block.info == "output":
                    if printed is None:
                        raise SnippetError(f"{where}: output without a Python block before it")
                    _compare(block.body, printed, where, update)
                    changes.append((block.span, _renewed(block.body, printed)))
                elif block.skipped or block.needs:
                    continue
                elif block.language == "console":
                    body, _ = _run_console(block, where, update, processes)
                    changes.append((block.span, body))
                elif block.language in ("python", "{code-cell}"):
                    printed = _run_python(block, page, where)
        finally:
            os.chdir(before)
    if update:
        for (start, end), body in reversed(changes):
            text = text[:start] + body + text[end:]
    return text


def run_prepared(path: Path, blocks: list[Block], folder: Path, names: dict[str, Any]) -> str:
    """Run blocks of a page that need a prepared folder, in it; returns all that they print.

    Parameters
    ----------
    path : Path
        The page.
    blocks : list of Block
        Blocks of the page, in their order.
    folder : Path
        The folder to run them in.
    names : dict
        What Python blocks take for granted: name to value.

    Raises
    ------
    SnippetError
        Names the page and line of a block that fails or shows other output.
    """
    page = Page(str(path), folder)
    page.names.update(names)
    printed = []
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks:
            where = f"{path.name}, line {block.line}"
            if block.language == "console":
                printed.append(_run_console(block, where, update=False, processes=True)[1])
            else:
                printed.append(_run_python(block, page, where))
    finally:
        os.chdir(before)
    return "".join(printed)


def _run_python(block: Block, page: Page, where: str) -> str:
    # Options of a notebook cell stand at its head.
    source = re.sub(r"\A(:[^\n]*\n)+", "", block.body)
    tree = ast.parse(source, where)
    shown = None
    if block.language == "{code-cell}" and tree.body and isinstance(tree.body[-1], ast.Expr):
        shown = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(tree, where, "exec"), page.names)
            if shown is not None:
                value = eval(compile(shown, where, "eval"), page.names)
                if value is not None:
                    # What Jupyter would show.
                    print(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
        except Exception as error:
            raise SnippetError(f"{where}: {type(error).__name__}: {error}") from error
    return _clean(out.getvalue())


def _run_console(block: Block, where: str, update: bool, processes: bool) -> tuple[str, str]:
    """Run the commands of a block; returns its text, renewed, and what it printed."""
    parts = re.split(r"^\$ ", block.body, flags=re.MULTILINE)
    renewed, everything = [parts[0]], []
    for part in parts[1:]:
        command, output = _split_command(part)
        line = f"{command} {block.added}".strip()
        run = _in_process if not processes and _PLAIN.fullmatch(line) else _in_a_shell
        status, stdout, stderr = run(line)
        # Exit status 1 of a benchmark means that a goal was missed, as on a busy machine.
        if status and not (block.says("timed") and status == 1 and "Traceback" not in stderr):
            raise SnippetError(f"{where}: `{line}` ended with {status}: {stderr}")
        printed = _clean(stdout)
        everything.append(printed)
        if output.strip() and not block.added:
            _compare(output, printed, where, update)
            renewed.append(f"$ {command}\n{_renewed(output, printed)}")
        else:
            renewed.append(f"$ {part}")
    return "".join(renewed), "".join(everything)


def _in_a_shell(command: str) -> tuple[int, str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, **_TERMINAL}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=environment, check=False
    )
    return done.returncode, done.stdout, done.stderr


def _in_process(command: str) -> tuple[int, str, str]:
    from sparsefit.cli import main as sparsefit

    out, err = io.StringIO(), io.StringIO()
    before = {name: os.environ.get(name) for name in _TERMINAL}
    os.environ.update(_TERMINAL)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = sparsefit(shlex.split(command)[1:])
    except SystemExit as stop:  # argparse: --help, --version, wrong usage
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return status, out.getvalue(), err.getvalue()


def _split_command(part: str) -> tuple[str, str]:
    lines = part.splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if not line.rstrip("\n").endswith("\\"))
    return "".join(lines[: last + 1]).rstrip("\n"), "".join(lines[last + 1 :])


def _clean(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    return f"{lines}\n" if lines else ""


def _renewed(shown: str, printed: str) -> str:
    """What was printed, with as many lines on each side of ``...`` as were shown."""
    lines, found = shown.splitlines(), printed.splitlines()
    if "..." not in lines or len(lines) < 2:
        return printed
    cut = lines.index("...")
    tail = found[len(found) - (len(lines) - cut - 1) :]
    return "\n".join([*found[:cut], "...", *tail]) + "\n"


def _compare(shown: str, printed: str, where: str, update: bool) -> None:
    """Words must be the same; numbers may differ as they do between machines and releases."""
    if update:
        return
    wanted, found = _clean(shown).splitlines(), printed.splitlines()
    if "..." in wanted:
        cut = wanted.index("...")
        tail = wanted[cut + 1 :]
        wanted = wanted[:cut] + tail
        found = found[:cut] + (found[-len(tail) :] if tail else [])
    if len(wanted) != len(found) or not all(map(alike, wanted, found)):
        raise SnippetError(f"{where}: shows\n{shown}\nbut prints\n{printed}")


def alike(shown: str, printed: str) -> bool:
    """Whether two texts have the same words, and numbers that differ little."""
    if _NUMBER.sub("0", shown).split() != _NUMBER.sub("0", printed).split():
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.1, abs_tol=0.011) for a, b in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--update", action="store_true", help="write the output into the pages")
    parser.add_argument(
        "--processes", action="store_true", help="run each sparsefit command in its own process"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    failed = 0
    for path in arguments.pages:
        try:
            text = run_page(path.resolve(), arguments.update, arguments.processes)
        except SnippetError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        if arguments.update:
            path.write_text(text, encoding="utf-8")
        print(f"{path}: ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
