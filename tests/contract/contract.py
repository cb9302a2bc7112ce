"""The documented interface as data: reads the tables of tests/contract/data and takes declarations apart.

Shared by generate.py (the program that calls every member), names.py (parameter names) and coverage.py (the page).
"""

import collections
import csv
import functools
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

Argument = collections.namedtuple("Argument", "type name")
# kind: method, static, variadic (a static one that takes any number of its one argument) or constructor.
Declaration = collections.namedtuple("Declaration", "kind result name arguments const text")


@functools.lru_cache
def table(name, folder="data"):
    with open(os.path.join(HERE, folder, name), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def cpp_name(documented):
    """MPSCNNPooling is kovar::MPS::CNNPooling."""
    return documented.removeprefix("MPS")


@functools.lru_cache
def public_headers():
    """Path below include/ -> text without comments."""
    found = {}
    include = os.path.join(ROOT, "include")
    for where, _, names in os.walk(include):
        for name in names:
            if name.endswith(".hpp"):
                path = os.path.join(where, name)
                with open(path, encoding="utf-8") as file:
                    found[os.path.relpath(path, include)] = re.sub(r"//[^\n]*", "", file.read())
    return found


def declared_classes(headers):
    """C++ name of every class or struct that a public header defines -> the header."""
    found = {}
    for path, text in sorted(headers.items()):
        for match in re.finditer(r"\b(?:class|struct)\s+(\w+)(?:\s+final)?\s*(?::[^;{}]*)?\{", text):
            found.setdefault(match.group(1), path)
    return found


def split_top(text, separator=","):
    """Cuts at separators that stand in no brackets."""
    pieces, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += letter in "<([{"
        depth -= letter in ">)]}"
        if letter == separator and depth == 0:
            pieces.append(text[start:position])
            start = position + 1
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if piece.strip()]


def parse(text, class_name):
    """One declaration of the table, without its semicolon."""
    head, rest = text.split("(", 1)
    inside, tail = rest.rsplit(")", 1)
    words = head.split()
    static = "static" in words
    words = [word for word in words if word not in ("static", "virtual", "explicit")]
    name, result = words[-1], " ".join(words[:-1])
    if name == class_name:
        result = ""  # the initialiser that a protocol documents is a constructor, as those of classes
    arguments, variadic = [], inside.endswith("..., ...")
    for piece in split_top(inside.removesuffix("..., ...")):
        piece = piece.split("=")[0].strip()
        match = re.fullmatch(r"(.*?[\s&*>])(\w+)", piece, re.S)
        if not match:
            raise ValueError(f"{class_name}: cannot read the argument '{piece}' of '{text}'")
        arguments.append(Argument(match.group(1).strip(), match.group(2)))
    kind = "variadic" if variadic else "static" if static else "method" if result else "constructor"
    return Declaration(kind, result, name, arguments, "const" in tail.split(), text)


def declarations(row):
    """The C++ declarations of one row of members.tsv; a writable property has two."""
    text = row["cpp_decl"].split("//")[0].strip()
    if not text or text.startswith("("):
        return []
    return [parse(piece.strip(), cpp_name(row["class"])) for piece in text.split(";") if piece.strip()]


@functools.lru_cache
def documented_types():
    return {cpp_name(row["class"]) for row in table("classes.tsv")} | {"Archive"}


def waits(row, declared):
    """The first type that a member's declaration names and no public header declares yet, or None."""
    for word in re.findall(r"\w+", row["cpp_decl"].split("//")[0]):
        name = word.removesuffix("Batch")
        if name in documented_types() and name not in declared:
            return name
    return None


@functools.lru_cache
def exceptions():
    """(class, member) -> why it is not carried over, or not yet. A member "*" stands for the whole class."""
    return {(row["class"], row["member"]): row for row in table("exceptions.tsv", folder=".")}
