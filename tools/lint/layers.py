#!/usr/bin/env python3
"""Every #include goes down the layers of layers.txt, and library headers stay in the folders that may know them.

usage: layers.py [ROOT]
"""

import os
import re

import common

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.M)
# A standard header has no dot (<vector>); these are the C ones and what the compiler itself brings.
_C_HEADERS = re.compile(r"^(std[a-z]+|string|math|errno|assert|float|limits|time|ctype|inttypes|locale|wchar)\.h$")
_SEARCHED = ("include", "src", "tests", "tools", "examples", "bench")


def table(path):
    """layers.txt as {name: (paths, layers, libraries)} and {library: beginnings}."""
    layers, libraries = {}, {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.split("#")[0].strip()
            if not line:
                continue
            kind, rest = line.split(None, 1)
            fields = [field.split() for field in rest.split(":")]
            if kind == "library":
                libraries[fields[0][0]] = tuple(fields[1])
            else:
                layers[fields[0][0]] = (fields[1], set(fields[2]), set(fields[3]))
    for name, (_, allowed, known) in layers.items():
        for unknown in (allowed - set(layers)) | (known - set(libraries)):
            raise SystemExit(f"{path}: layer {name} names {unknown}, which the table does not have")
    return layers, libraries


def layer_of(path, layers):
    """The layer with the longest folder or file that path lies in."""
    best, length = None, -1
    for name, (places, _, _) in layers.items():
        for place in places:
            if (path == place or path.startswith(place + "/")) and len(place) > length:
                best, length = name, len(place)
    return best


def resolve(root, path, included):
    """The project file that an include names, or None. A bare name is looked for beside the file first."""
    for folder in (os.path.dirname(path), *_SEARCHED, *(f"tests/{d}" for d in subfolders(root, "tests"))):
        candidate = os.path.normpath(f"{folder}/{included}").replace(os.sep, "/")
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def subfolders(root, folder):
    where = os.path.join(root, folder)
    return sorted(d for d in os.listdir(where) if os.path.isdir(os.path.join(where, d))) if os.path.isdir(where) else []


def main():
    root = common.root_argument()
    here = os.path.dirname(os.path.abspath(__file__))
    layers, libraries = table(os.path.join(here, "layers.txt"))
    report = common.Report("layers")
    paths = common.files(root)
    for path in paths:
        layer = layer_of(path, layers)
        if layer is None:
            report.add(path, 1, "lies in no layer: add its folder to tools/lint/layers.txt")
            continue
        _, allowed, known = layers[layer]
        text = common.code(common.read(root, path), keep_strings=True)
        for match in _INCLUDE.finditer(text):
            line = common.line_of(text, match.start(0))
            included = match.group(1) or match.group(2)
            if included == "kovar/Version.hpp":  # made by CMake
                continue
            target = resolve(root, path, included)
            if target:
                other = layer_of(target, layers)
                if other != layer and other not in allowed:
                    report.add(path, line, f'layer {layer} may not include "{included}" of layer {other}')
                continue
            library = next((n for n, starts in libraries.items() if included.startswith(starts)), None)
            if library:
                if library not in known:
                    report.add(path, line, f"layer {layer} may not include <{included}> of {library}")
            elif match.group(1) or not ("." not in included or _C_HEADERS.match(included)):
                report.add(path, line, f'"{included}" is no file of this tree and no library of tools/lint/layers.txt')
    report.finish(len(paths))


if __name__ == "__main__":
    main()
