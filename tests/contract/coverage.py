"""Writes docs/coverage.md: class by class what of the documented interface is there and which tests use it.

  python3 tests/contract/coverage.py [--check]     --check: writes nothing, fails if the page is not up to date

A member counts as done when bin/test_contract takes its address; tests and oracles are found by the names they use.
"""

import os
import re
import sys

import contract

PAGE = os.path.join(contract.ROOT, "docs", "coverage.md")
TIERS = {"seed": "The documented kernels", "see-also": "What they are used with", "related": "Around them"}


def test_files():
    """Path below tests/ -> (identifiers in it, oracles it includes)."""
    found, tests = {}, os.path.join(contract.ROOT, "tests")
    for where, _, names in os.walk(tests):
        for name in names:
            path = os.path.relpath(os.path.join(where, name), tests)
            if name.endswith((".cpp", ".hpp")) and not path.startswith(("oracle", "support", "fuzz")):
                with open(os.path.join(where, name), encoding="utf-8") as file:
                    text = file.read()
                oracles = re.findall(r'#include "oracle/(\w+)\.hpp"', text)
                found[path] = (set(re.findall(r"\w+", text)), oracles)
    return found


def row_of(documented, rows, declared, tests):
    name = contract.cpp_name(documented)
    excepted = contract.exceptions()
    missing = [r for r in rows if (documented, r["member"]) in excepted or contract.waits(r, declared)]
    using = sorted(path for path, (words, _) in tests.items() if name in words)
    oracles = sorted({oracle for path in using for oracle in tests[path][1]})
    return {
        "name": name,
        "header": declared[name].removeprefix("kovar/"),
        "all": len(rows),
        "done": len(rows) - len(missing),
        "oracles": ", ".join(oracles),
        "tests": ", ".join(using[:4]) + (f" and {len(using) - 4} more" if len(using) > 4 else ""),
    }


def page():
    declared = contract.declared_classes(contract.public_headers())
    tests, excepted = test_files(), contract.exceptions()
    members = {}
    for row in contract.table("members.tsv"):
        members.setdefault(row["class"], []).append(row)
    text = [
        "# What of the documented interface is there",
        "",
        "Written by `tests/contract/coverage.py` from the tables of `tests/contract`, the public headers and the tests.",
        "`bin/test_contract` is compiled from the same tables: it uses every member counted here with exactly its documented",
        "type. Parameter names are compared by `tests/contract/names.py`.",
    ]
    for tier, title in TIERS.items():
        classes = [row for row in contract.table("classes.tsv") if row["tier"] == tier]
        there = [row for row in classes if contract.cpp_name(row["class"]) in declared]
        text += ["", f"## {title}", "", f"{len(there)} of {len(classes)} classes.", ""]
        text += ["| class | header | members | oracle | tests |", "|---|---|---|---|---|"]
        for row in there:
            r = row_of(row["class"], members.get(row["class"], []), declared, tests)
            text.append(f"| {r['name']} | {r['header']} | {r['done']} of {r['all']} | {r['oracles']} | {r['tests']} |")
        absent = [contract.cpp_name(r["class"]) for r in classes if contract.cpp_name(r["class"]) not in declared]
        if absent:
            text += ["", "Not there: " + ", ".join(absent) + "."]
    text += ["", "## Members that are left out, and why", "", "| class | member | why |", "|---|---|---|"]
    for (documented, member), row in excepted.items():
        if member != "*" or row["reason"] != "not yet":
            text.append(f"| {contract.cpp_name(documented)} | `{member}` | {row['reason']} |")
    text += ["", "Members that take a type which is not there yet come with that type."]
    return "\n".join(text) + "\n"


def main(arguments):
    text = page()
    old = ""
    if os.path.exists(PAGE):
        with open(PAGE, encoding="utf-8") as file:
            old = file.read()
    if "--check" in arguments:
        if text != old:
            sys.exit("docs/coverage.md is not up to date: run python3 tests/contract/coverage.py")
    elif text != old:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(text)
    print("coverage: docs/coverage.md is up to date")


if __name__ == "__main__":
    main(sys.argv[1:])
