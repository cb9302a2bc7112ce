"""Writes the program that takes the address of every documented member with exactly its documented type and calls every
documented constructor: it compiles and links only if the public interface is the documented one.

  python3 tests/contract/generate.py OUTPUT.cpp...

The classes are dealt out over the given files. Classes and members of exceptions.tsv are left out; one that is listed
there although it exists ends the run, so the list cannot grow stale.
"""

import re
import sys

import contract


def function_type(declaration):
    return f"{declaration.result}({', '.join(a.type for a in declaration.arguments)})"


def use_of(declaration):
    """The statement that uses one member of the class T."""
    types = ", ".join(a.type for a in declaration.arguments)
    name, result = declaration.name, declaration.result
    if declaration.kind == "constructor":
        return f"keep(&made<{', '.join(['T'] + [a.type for a in declaration.arguments])}>);"
    if declaration.kind == "variadic":
        fixed = declaration.arguments[:-1]
        last = declaration.arguments[-1].type
        parameters = ", ".join([f"{a.type} {a.name}" for a in fixed] + [f"{last} one, {last} two"])
        given = ", ".join([a.name for a in fixed] + ["one, two"])
        return f"keep(+[]({parameters}) -> {result} {{ return T::{name}({given}); }});"
    if declaration.kind == "static":
        return f"keep(static_cast<{result} (*)({types})>(&T::{name}));"
    # More constness than documented is allowed.
    constant, plain = (f"static_cast<{result} (T::*)({types}){c}>(&T::{name})" for c in (" const", ""))
    if declaration.const:
        return f"keep({constant});"
    return f"if constexpr (requires {{ {constant}; }}) keep({constant}); else keep({plain});"


def class_block(class_name, rows):
    """A template, so that what does not exist is looked up for T alone and reported with its line."""
    lines = [f"template <class T> void use{class_name}() {{"]
    for row in rows:
        for declaration in contract.declarations(row):
            lines.append(f"  {use_of(declaration)}  // {declaration.text}")
    lines.append("}")
    constructors = [d for row in rows for d in contract.declarations(row) if d.kind == "constructor"]
    types = dict.fromkeys(", ".join([class_name] + [a.type for a in d.arguments]) for d in constructors)
    lines += [f"template struct Derived<std::is_abstract_v<{class_name}>, {text}>;" for text in types]
    return "\n".join(lines)


def constants_block(declared):
    """Every value of every enumeration that exists, and every free name."""
    lines = []
    for row in contract.table("enums.tsv"):
        if row["cpp"].split("::")[1] in declared or row["cpp"].startswith("MTL::"):
            lines.append(f"static_assert(static_cast<std::uint64_t>({row['cpp']}) == {row['value']}ull);")
    for row in contract.table("globals.tsv"):
        excepted = (row["name"], "*") in contract.exceptions()
        if not excepted and not contract.waits({"cpp_decl": row["cpp"]}, declared):
            lines.append(f"using kovar::{row['cpp'].split('(')[0]};")
    return "namespace constants {\n" + "\n".join(lines) + "\n}  // namespace constants\n\n"


def selected(declared):
    """Class -> its rows, for the classes that exist; checks the list of exceptions against the headers."""
    excepted = contract.exceptions()
    wrong, rows_of = [], {}
    for row in contract.table("classes.tsv"):
        name, whole = contract.cpp_name(row["class"]), (row["class"], "*") in excepted
        if name in declared and whole:
            wrong.append(f"exceptions.tsv lists {row['class']}, but {declared[name]} has it: take the line out")
        elif name in declared:
            rows_of[row["class"]] = []
        elif row["tier"] == "seed" and not whole:
            wrong.append(f"{row['class']} is in no public header: write it, or give the reason in exceptions.tsv")
    for row in contract.table("members.tsv"):
        if row["class"] in rows_of and (row["class"], row["member"]) not in excepted and not contract.waits(row, declared):
            rows_of[row["class"]].append(row)
    if wrong:
        sys.exit("\n".join(wrong))
    return rows_of


HEAD = """// Written by tests/contract/generate.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kovar/kovar.hpp"

using std::size_t, std::uint8_t, std::uint32_t, std::uint64_t, std::int32_t;

namespace kovar::MPS {
namespace {

/// Holds a pointer, so that what it points to must be linked.
template <class P>
void keep(P pointer) {
  static volatile const void* last;
  last = &pointer;
}

/// For abstract classes: what an application derives from them can call the constructor.
template <bool Abstract, class T, class... A>
struct Derived {};
template <class T, class... A>
struct Derived<true, T, A...> : T {
  explicit Derived(A... a) : T(a...) {}
};

/// Every kernel class can be read from an archive, and stands in the archive's table; a graph has only its constructor.
template <class T>
void archived(const std::string& name) {
  if constexpr (std::is_base_of_v<Kernel, T> && !std::is_abstract_v<T>) {
    static_assert(std::is_constructible_v<T, Archive&, const Ref<MTL::Device>&>);
    const std::vector<std::string> known = Archive::kernelClasses();
    const bool listed = std::find(known.begin(), known.end(), name) != known.end();
    EXPECT_NE(listed, (std::is_same_v<T, NNGraph>)) << name;
  }
}

template <class T, class... A>
void* made(A... a) {
  if constexpr (std::is_abstract_v<T>) return nullptr;
  else return new T(a...);
}

"""


def write_if_new(path, text):
    """A file whose text is the same keeps its time, so that nothing is compiled again."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main(outputs):
    declared = contract.declared_classes(contract.public_headers())
    rows_of = selected(declared)
    names = sorted(rows_of)
    for index, path in enumerate(outputs):
        mine = names[index :: len(outputs)]
        parts = [HEAD]
        if index == 0:
            parts.append(constants_block(declared))
        for name in mine:
            parts.append(class_block(contract.cpp_name(name), rows_of[name]) + "\n\n")
        parts.append("}  // namespace\n")
        for name in mine:
            cpp = contract.cpp_name(name)
            parts.append(f"TEST(Contract, {cpp}) {{\n  use{cpp}<{cpp}>();\n  archived<{cpp}>(\"{cpp}\");\n}}\n")
        parts.append("}  // namespace kovar::MPS\n")
        write_if_new(path, "".join(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
