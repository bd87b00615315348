"""What the README tells people to type exists and is understood."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from convoy.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md")
FENCE = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(platform [^`]+)`")
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
SHELL = {"cd", "git", "source", "export"}


def typed_lines(page: str) -> list[str]:
    """Lines of the fenced blocks, joined where one goes on, without prompts and comments."""
    blocks = "\n".join(FENCE.findall((ROOT / page).read_text("utf-8"))).replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in blocks.split("\n"))
    return [line.removeprefix("$ ") for line in lines if line]


def spans(page: str) -> list[str]:
    """Commands within sentences and tables."""
    text = FENCE.sub("", (ROOT / page).read_text("utf-8"))
    return [span for span in SPAN.findall(text) if "..." not in span]


def commands_of(line: str) -> list[list[str]]:
    """Words of each command of a line, without the variables that are set before it."""
    inner = re.findall(r"\$\(([^)]*)\)", line)
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "1", line), posix=True, punctuation_chars="|;&")
    lexer.whitespace_split = True
    commands: list[list[str]] = [shlex.split(command) for command in inner]
    commands.append([])
    for word in lexer:
        if set(word) <= set("|;&"):
            commands.append([])
        elif commands[-1] or not re.fullmatch(r"[A-Z_]+=.*", word):
            commands[-1].append(word)
    return [words for words in commands if words]


COMMANDS = [
    (page, words)
    for page in PAGES
    for line in (*typed_lines(page), *spans(page))
    for words in commands_of(line)
]


def check_platform(words: list[str]) -> None:
    """Let each command take its arguments, running none."""
    command: Any = get_command(app)
    context = command.make_context("platform", list(words))
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, list(words), parent=context)


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert {word for word in words if "=" not in word and not word.startswith("-")} <= targets


def check_python(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        assert importlib.util.find_spec(words[1])
    else:
        assert (ROOT / words[0]).is_file()


@pytest.mark.parametrize(
    ("page", "words"),
    COMMANDS,
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_a_command_that_a_page_shows_is_understood(page: str, words: list[str]) -> None:
    name = words[0].removeprefix(".venv/bin/")
    if name == "platform":
        check_platform(words[1:])
    elif name == "make":
        check_make(words[1:])
    elif name == "python":
        check_python(words[1:])
    else:
        assert name in SHELL or (ROOT / name).is_file(), f"{page} shows {' '.join(words)!r}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_exists(page: str) -> None:
    links = LINK.findall((ROOT / page).read_text("utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("headline", ["make demo", "make test"])
def test_the_readme_opens_with_the_command(headline: str) -> None:
    assert headline in typed_lines("README.md")[:6]
    assert headline.split()[1] in re.findall(r"\w+", (ROOT / ".ci" / "run").read_text("utf-8"))
