"""What the lints share: the source files of a tree, their code without comments, and the report."""

import os
import re
import sys

SOURCE_FOLDERS = ("include", "src", "tools", "tests", "examples", "bench")
SOURCE_ENDINGS = (".hpp", ".h", ".cpp", ".cu", ".cuh")

_NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""",
    re.S,
)


def files(root, folders=SOURCE_FOLDERS, endings=SOURCE_ENDINGS):
    """Paths relative to root, sorted, with forward slashes."""
    found = []
    for folder in folders:
        for where, _, names in os.walk(os.path.join(root, folder)):
            relative = os.path.relpath(where, root).replace(os.sep, "/")
            found += [f"{relative}/{name}" for name in names if name.endswith(endings)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def code(text, keep_strings=False):
    """The text with comments (and the insides of strings) blanked out, every line still at its place."""

    def blank(match):
        piece = match.group(0)
        if piece[0] != "/":
            return piece if keep_strings else '""' + "\n" * piece.count("\n")
        return " " + "\n" * piece.count("\n")

    return _NOT_CODE.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


class Report:
    """Collects findings; finish() prints them and ends the program with 1 when there are any."""

    def __init__(self, lint):
        self.lint = lint
        self.findings = []

    def add(self, path, line, text):
        self.findings.append(f"{path}:{line}: {text}")

    def finish(self, checked):
        for finding in self.findings:
            print(finding)
        print(f"{self.lint}: {len(self.findings)} findings in {checked} files")
        sys.exit(1 if self.findings else 0)


def root_argument():
    """The one optional argument of every lint: the tree to look at."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(here))
