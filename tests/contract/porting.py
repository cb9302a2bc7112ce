"""Writes docs/porting/: for each family of classes every selector, the C++ that takes its place, and what to watch.

  python3 tests/contract/porting.py

The remarks are in notes.tsv; a remark on a member "*" stands above the class's table.
"""

import os
import sys

import contract

FOLDER = os.path.join(contract.ROOT, "docs", "porting")
KINDS = {"class-method": "+", "init": "-", "method": "-"}


def title(family):
    return family.replace("-", " ").capitalize()


def notes():
    known = {(row["class"], row["member"]) for row in contract.table("members.tsv")}
    known |= {(row["class"], "*") for row in contract.table("classes.tsv")}
    found = {}
    for row in contract.table("notes.tsv", folder="."):
        if (row["class"], row["member"]) not in known:
            sys.exit(f"notes.tsv: there is no member {row['member']} of {row['class']}")
        found[row["class"], row["member"]] = row["note"]
    return found


def cpp_of(row, declared):
    """What to write, or why there is nothing to write."""
    excepted = contract.exceptions().get((row["class"], row["member"]))
    if excepted:
        return excepted["reason"]
    if contract.waits(row, declared):
        return f"comes with {contract.waits(row, declared)}"
    pieces = [piece.strip() for piece in row["cpp_decl"].split("//")[0].split(";") if piece.strip()]
    return "<br>".join(f"`{piece}`" for piece in pieces)


def class_text(row, members, declared, remarks):
    name = row["class"]
    lines = [f"## {name}", "", f"`kovar::MPS::{contract.cpp_name(name)}`"]
    base = row["superclass"]
    if base.startswith("MPS"):
        lines[-1] += f", derived from `{contract.cpp_name(base)}`: what it inherits stands there"
    lines[-1] += "."
    if (name, "*") in remarks:
        lines += ["", f"**Watch:** {remarks[name, '*']}"]
    if members:
        lines += ["", "| Objective-C | C++ | watch |", "|---|---|---|"]
    for member in members:
        sign = KINDS.get(member["kind"], "")
        remark = remarks.get((name, member["member"]), "")
        lines.append(f"| `{sign}{member['member']}` | {cpp_of(member, declared)} | {remark} |")
    return lines


def main():
    declared = contract.declared_classes(contract.public_headers())
    remarks, members, families = notes(), {}, {}
    for row in contract.table("members.tsv"):
        members.setdefault(row["class"], []).append(row)
    for row in contract.table("classes.tsv"):
        if contract.cpp_name(row["class"]) in declared:
            families.setdefault(row["family"], []).append(row)
    os.makedirs(FOLDER, exist_ok=True)
    index = ["# Selector by selector", "", "Written by `tests/contract/porting.py`. Begin with [the guide](../porting.md).", ""]
    for family, classes in sorted(families.items()):
        lines = [f"# {title(family)}", "", "Written by `tests/contract/porting.py`."]
        for row in classes:
            lines += [""] + class_text(row, members.get(row["class"], []), declared, remarks)
        with open(os.path.join(FOLDER, f"{family}.md"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        index.append(f"- [{title(family)}]({family}.md): " + ", ".join(contract.cpp_name(row["class"]) for row in classes))
    with open(os.path.join(FOLDER, "README.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(index) + "\n")
    print(f"porting: {len(families)} pages in docs/porting")


if __name__ == "__main__":
    main()
