"""Reads a page of the documentation: its blocks of code, its command lines, its links and its headings."""

import re
import shlex
from pathlib import Path

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_SEPARATORS = frozenset("|&;()<>")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks in a language, without the indent of the list around them."""
    return [
        "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
        for indent, name, block in _BLOCK.findall(read(page))
        if name == language
    ]


def commands(page: Path, program: str) -> list[list[str]]:
    """The arguments of every call of a program, in shell blocks and in code spans; a bare mention isn't one."""
    shell = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    spans = [span.replace("\n", " ") for span in _SPAN.findall(_BLOCK.sub("", read(page)))]
    calls = [call for text in (*shell, *spans) if program in text for call in _simple_commands(text)]
    return [call[1:] for call in calls if len(call) > 1 and Path(call[0]).name == program]


def _simple_commands(text: str) -> list[list[str]]:
    """A shell line's commands, without variables set before them and without sudo."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= _SEPARATORS:
            found.append([])
        elif found[-1] or not (token == "sudo" or re.fullmatch(r"[A-Z_]+=.*", token)):
            found[-1].append(token)
    return found


def links(page: Path) -> list[str]:
    return _LINK.findall(read(page))


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page can be linked to, as code hosts make them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(read(page))}


def first_cells(page: Path) -> list[list[str]]:
    """The first column of every table: its heading, then its cells."""
    tables = re.findall(r"^(\|.*\|\n)\|[ :|-]+\|\n((?:\|.*\|\n)+)", read(page), re.MULTILINE)
    return [[row.split("|")[1].strip() for row in (heading + rows).splitlines()] for heading, rows in tables]
