#!/usr/bin/env python3
"""What may not stand in a source file: one row a rule.

usage: rules.py [ROOT]
"""

import re

import common

HEADERS = (".hpp", ".h", ".cuh")


class Rule:
    """A pattern and the files it is looked for in. in_comments: also in comments and strings."""

    def __init__(self, name, where, pattern, why, except_in=(), endings=common.SOURCE_ENDINGS, in_comments=False):
        self.name, self.where, self.why, self.except_in, self.endings = name, where, why, except_in, endings
        self.pattern, self.in_comments = re.compile(pattern, re.M), in_comments

    def applies(self, path):
        return path.startswith(self.where) and not path.startswith(self.except_in or "\0") and path.endswith(self.endings)


_EVERYWHERE = ("include/", "src/", "tools/", "tests/", "examples/", "bench/")
_CALLS = "exp|exp2|expm1|log|log2|log10|log1p|tanh|sinh|cosh|atanh|asinh|acosh|pow|erf|erfc"

RULES = (
    Rule("openmp", _EVERYWHERE, r"^[ \t]*#[ \t]*pragma[ \t]+omp\b",
         "all parallelism goes through base/parallel.hpp: no OpenMP pragmas"),
    Rule("formula", ("src/backend/",),
         rf"(?<![\w.>:])(?:std::|::|maths::|hn::|hwy::\w+::)?(?:{_CALLS})f?\s*\(|\bhn::(?:Exp|Log|Log1p|Tanh|Expm1)\s*\(",
         "a formula stands once, in src/maths: call its functor"),
    Rule("onednn", _EVERYWHERE, r"\bdnnl(?:::|_\w)", "oneDNN is known to src/backend/cpu only",
         except_in=("src/backend/cpu/",)),
    Rule("highway", _EVERYWHERE, r"\bhwy::|\bHWY_[A-Z]", "Highway is known to src/maths and src/backend/cpu only",
         except_in=("src/maths/", "src/backend/cpu/", "tests/", "bench/")),
    Rule("cuda", _EVERYWHERE, r"\bcu(?:da|dnn|blas)[A-Z]\w*\s*\(|\bcuda(?:Stream|Event|Error|Graph)\w*_t\b",
         "CUDA is known to src/backend/cuda only",
         except_in=("src/backend/cuda/", "include/kovar/", "tests/cuda/", "tests/nn/cuda/", "tests/emulation/")),
    Rule("throw", ("src/base/", "src/maths/", "src/prim/", "src/backend/"), r"\bthrow\b",
         "inside the library errors are values (base/result.hpp)", except_in=("src/base/edge.",)),
    Rule("print", ("src/", "include/"), r"\bstd::(?:cout|cerr|clog)\b|(?<![\w:.>])(?:std::)?(?:f?printf|puts)\s*\(",
         "the library writes nothing to the terminal: base/log.hpp", except_in=("src/base/log.cpp",)),
    Rule("cxx20", _EVERYWHERE, r"\bstd::(?:format|expected|source_location|jthread|stop_token|print)\b",
         "g++ 12 or clang 14 do not have it"),
    Rule("using", ("include/", "src/"), r"^[ \t]*using\s+namespace\b",
         "a header opens no namespace for those who include it", endings=HEADERS),
    Rule("words", _EVERYWHERE, r"\b(?:TODO|FIXME|XXX|HACK)\b", "finish it, or write an issue", in_comments=True),
    Rule("place", _EVERYWHERE + ("docs/", "scripts/", "cmake/"), r"(?<![\w.~/])/(?:home|root|work|Users)/\w",
         "a path of one machine", in_comments=True,
         endings=common.SOURCE_ENDINGS + (".md", ".txt", ".py", ".sh", ".cmake", ".json")),
)


def main():
    root = common.root_argument()
    report = common.Report("rules")
    endings = tuple({ending for rule in RULES for ending in rule.endings})
    paths = common.files(root, common.SOURCE_FOLDERS + ("docs", "scripts", "cmake"), endings)
    for path in paths:
        text = common.read(root, path)
        bare = common.code(text) if path.endswith(common.SOURCE_ENDINGS) else text
        for rule in RULES:
            if not rule.applies(path):
                continue
            for match in rule.pattern.finditer(text if rule.in_comments else bare):
                where = text if rule.in_comments else bare
                found = match.group(0).strip()
                report.add(path, common.line_of(where, match.start()), f"[{rule.name}] {found}: {rule.why}")
        # Highway reads a per-target header once for each instruction set; it has a guard of its own kind.
        if path.endswith(HEADERS) and not re.search(r"^#pragma once$|HWY_TARGET_TOGGLE", text, re.M):
            report.add(path, 1, "[once] a header begins with #pragma once")
    report.finish(len(paths))


if __name__ == "__main__":
    main()
