"""Compares the parameter names of the public headers, as clang reads them, with the documented ones.

  python3 tests/contract/names.py [INCLUDE-FOLDER...]     folders beside include/, such as the one with kovar/Version.hpp

The types are the business of generate.py: its program would not compile with others.
"""

import json
import os
import subprocess
import sys

import contract

METHODS = ("CXXMethodDecl", "CXXConstructorDecl")


def syntax_trees(include_folders):
    """Every declaration of kovar::MPS in the public headers."""
    command = ["clang++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-", "-include", "kovar/kovar.hpp"]
    command += ["-Xclang", "-ast-dump=json", "-Xclang", "-ast-dump-filter=kovar::MPS"]
    for folder in [os.path.join(contract.ROOT, "include"), *include_folders]:
        command += ["-I", folder]
    run = subprocess.run(command, input="", capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"names: clang++ could not read the public headers:\n{run.stderr}")
    decoder, text, position = json.JSONDecoder(), run.stdout, 0
    while position < len(text):
        tree, position = decoder.raw_decode(text, position)
        yield tree
        while position < len(text) and text[position].isspace():
            position += 1


class Classes:
    """What the headers declare: for each class its bases, and for each function the parameter names of its overloads."""

    def __init__(self, trees):
        self.bases, self.functions = {}, {}
        for tree in trees:
            self.visit(tree)

    def visit(self, node):
        if node.get("kind") == "CXXRecordDecl" and node.get("completeDefinition"):
            self.record(node)
        elif node.get("kind") == "NamespaceDecl":
            for child in node.get("inner", ()):
                self.visit(child)

    def record(self, node):
        name = node["name"]
        self.bases[name] = [base["type"]["qualType"].removeprefix("kovar::MPS::") for base in node.get("bases", ())]
        for child in node.get("inner", ()):
            templated = child.get("kind") == "FunctionTemplateDecl"
            for function in child.get("inner", ()) if templated else (child,):
                if function.get("kind") in METHODS:
                    own = name if function["kind"] == "CXXConstructorDecl" else function["name"]
                    names = [p.get("name", "") for p in function.get("inner", ()) if p["kind"] == "ParmVarDecl"]
                    self.functions.setdefault((name, own), set()).add(tuple(names))

    def overloads(self, class_name, declaration):
        """Parameter names of a function of the class or of those it derives from."""
        own = class_name if declaration.kind == "constructor" else declaration.name
        found = set(self.functions.get((class_name, own), ()))
        for base in self.bases.get(class_name, ()):
            found |= self.overloads(base, declaration)
        return found


def main(include_folders):
    classes = Classes(syntax_trees(include_folders))
    declared = contract.declared_classes(contract.public_headers())
    excepted = contract.exceptions()
    checked, wrong = 0, []
    for row in contract.table("members.tsv"):
        name = contract.cpp_name(row["class"])
        if name not in declared or (row["class"], row["member"]) in excepted or contract.waits(row, declared):
            continue
        for declaration in contract.declarations(row):
            wanted = tuple(argument.name for argument in declaration.arguments)
            overloads = classes.overloads(name, declaration)
            checked += 1
            if wanted not in overloads:
                ours = " or ".join(f"({', '.join(names)})" for names in sorted(overloads)) or "nothing"
                wrong.append(f"{declared[name]}: {name}::{declaration.name}({', '.join(wanted)}) is declared as {ours}")
    print("\n".join(wrong + [f"names: {len(wrong)} findings in {checked} declarations"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
