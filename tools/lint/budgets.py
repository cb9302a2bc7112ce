#!/usr/bin/env python3
"""Sizes that keep the tree readable and quick to compile. A limit is raised by a decision record in docs/adr/ only.

usage: budgets.py [ROOT]
"""

import re

import common
import layers

FILE_LINES = 600
# How many headers of ours stand behind one file, itself not counted.
PUBLIC_HEADER_INCLUDES = 30
SOURCE_INCLUDES = 60
INCLUDE_DEPTH = 12
# Headers whose only work is to include others.
UMBRELLA = re.compile(r"^include/kovar/(kovar|MTL/MTL|MPS/MPS|MPS/NN/NNGraphNodes)\.hpp$")


class Includes:
    """The include graph of a tree."""

    def __init__(self, root):
        self.root, self.direct = root, {}

    def of(self, path):
        if path not in self.direct:
            text = common.code(common.read(self.root, path), keep_strings=True)
            named = (m.group(1) or m.group(2) for m in layers._INCLUDE.finditer(text))
            self.direct[path] = [t for t in (layers.resolve(self.root, path, n) for n in named) if t]
        return self.direct[path]

    def behind(self, path):
        """All headers reached from path, and the length of the longest of the shortest ways."""
        seen, front, depth = {path}, [path], 0
        while True:
            front = [t for f in front for t in self.of(f) if t not in seen and not seen.add(t)]
            if not front:
                return len(seen) - 1, depth
            depth += 1


def main():
    root = common.root_argument()
    report = common.Report("budgets")
    graph = Includes(root)
    paths = common.files(root)
    for path in paths:
        lines = common.read(root, path).count("\n")
        if lines > FILE_LINES:
            report.add(path, lines, f"{lines} lines, {FILE_LINES} are allowed: split it by meaning")
        if UMBRELLA.match(path) or not path.startswith(("include/", "src/")):
            continue
        count, depth = graph.behind(path)
        limit = PUBLIC_HEADER_INCLUDES if path.startswith("include/") else SOURCE_INCLUDES
        if count > limit:
            report.add(path, 1, f"{count} headers of ours stand behind it, {limit} are allowed: declare instead of include")
        if depth > INCLUDE_DEPTH:
            report.add(path, 1, f"its includes are {depth} deep, {INCLUDE_DEPTH} are allowed")
    report.finish(len(paths))


if __name__ == "__main__":
    main()
