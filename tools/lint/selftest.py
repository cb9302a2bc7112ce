#!/usr/bin/env python3
"""Shows that each lint finds what it is for: small bad trees, and one good tree in which nothing may be found.

usage: selftest.py
"""

import os
import subprocess
import sys
import tempfile

import budgets
import rules

# (lint, file, its text, a piece of the expected finding)
BAD = [
    ("layers", "src/base/up.hpp", '#include "prim/desc.hpp"\n', 'src/base/up.hpp:1: layer base may not include "prim/desc.hpp"'),
    ("layers", "src/backend/cpu/up.cpp", "\n#include <kovar/MPS/Image.hpp>\n", "up.cpp:2: layer cpu may not include"),
    ("layers", "src/nn/vendor.cpp", '#include "dnnl.hpp"\n', "layer nn may not include <dnnl.hpp> of onednn"),
    ("layers", "src/nn/lanes.cpp", "#include <hwy/highway.h>\n", "layer nn may not include <hwy/highway.h> of hwy"),
    ("layers", "src/runtime/gpu.cpp", "#include <cuda_runtime.h>\n", "of cuda"),
    ("layers", "src/runtime/devices.cpp", '#include "backend/cpu/cpu.hpp"\n', "layer runtime may not include"),
    ("layers", "include/kovar/MPS/Leak.hpp", "#include <nlohmann/json.hpp>\n", "layer public-mps may not include"),
    ("layers", "include/kovar/MTL/Inner.hpp", '#include "prim/desc.hpp"\n', "layer public-mtl may not include"),
    ("layers", "include/kovar/MTL/Posix.hpp", "#include <unistd.h>\n", "of posix"),
    ("layers", "tests/oracle/share.cpp", '#include "prim/desc.hpp"\n', "layer oracle may not include"),
    ("layers", "tests/clients/inner.cpp", '#include "prim/desc.hpp"\n', "layer clients may not include"),
    ("layers", "src/base/lost.cpp", '#include "base/nowhere.hpp"\n', '"base/nowhere.hpp" is no file of this tree'),
    ("layers", "src/new/file.cpp", "\n", "lies in no layer"),
    ("budgets", "src/nn/long.cpp", "\n" * (budgets.FILE_LINES + 1), f"{budgets.FILE_LINES + 1} lines"),
    ("rules", "src/nn/once.hpp", "int x();\n", "[once]"),
    ("openmp", "src/backend/cpu/a.cpp", "#pragma omp parallel for\n", "a.cpp:1:"),
    ("formula", "src/backend/cpu/b.cpp", "\nfloat f(float x) { return std::exp(x); }\n", "b.cpp:2:"),
    ("formula", "src/backend/cpu/b.cpp", "float f(float x) { return tanhf(x); }\n", "b.cpp:1:"),
    ("onednn", "src/nn/c.cpp", "using Engine = dnnl::engine;\n", "c.cpp:1:"),
    ("highway", "src/nn/c.cpp", "auto n = hwy::SupportedTargets();\n", "c.cpp:1:"),
    ("cuda", "src/runtime/c.cpp", "void f() { cudaFree(nullptr); }\n", "c.cpp:1:"),
    ("throw", "src/prim/d.cpp", "void f() { throw 1; }\n", "d.cpp:1:"),
    ("print", "src/nn/e.cpp", 'void f() { std::cerr << "x"; }\n', "e.cpp:1:"),
    ("print", "src/nn/e.cpp", 'void f() { printf("x"); }\n', "e.cpp:1:"),
    ("cxx20", "tools/kovar/f.cpp", 'auto s = std::format("{}", 1);\n', "f.cpp:1:"),
    ("using", "src/base/g.hpp", "#pragma once\nusing namespace std;\n", "g.hpp:2:"),
    ("words", "src/base/h.cpp", "// TO" + "DO: later\n", "h.cpp:1:"),
    ("place", "docs/i.md", "\nsee /ho" + "me/me/kovar\n", "i.md:2:"),
]

GOOD = {
    "include/kovar/MPS/Image.hpp": "#pragma once\n#include <string>\n",
    "src/prim/desc.hpp": '#pragma once\n#include <vector>\n#include "base/result.hpp"\n',
    "src/base/result.hpp": "#pragma once\n// exp(x) in a comment, std::format too\n",
    "src/backend/cpu/cpu.hpp": "#pragma once\n#include <dnnl.hpp>\n#include <hwy/highway.h>\n",
    "src/backend/cpu/ok.cpp": 'const char* s = "throw exp(1) 1\'000";\nint n = 1\'000;\nvoid f(L& l) { l.log(n); }\n',
    "tests/oracle/ok.cpp": "#include <cmath>\ndouble f(double x) { return std::exp(x); }\n",
}


def run(lint, extra):
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**GOOD, **extra}.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{lint}.py")
        done = subprocess.run([sys.executable, program, root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def format_of(text):
    """The exit status of format.sh for a tree with one file."""
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "src"))
        with open(os.path.join(root, "src", "a.cpp"), "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(root, ".clang-format"), "w", encoding="utf-8") as file:
            file.write("BasedOnStyle: Google\n")
        command = [os.path.join(here, "format.sh"), "--root", root]
        return subprocess.run(command, capture_output=True, check=False).returncode


def include_chain(count):
    """Headers that include one another in a line."""
    chain = {f"src/nn/c{i}.hpp": f'#pragma once\n#include "nn/c{i + 1}.hpp"\n' for i in range(count)}
    return {**chain, f"src/nn/c{count}.hpp": "#pragma once\n"}


def main():
    wrong = []
    for lint in ("layers", "rules", "budgets"):
        status, output = run(lint, {})
        if status != 0:
            wrong.append(f"{lint} finds something in the good tree:\n{output}")
    names = {rule.name for rule in rules.RULES}
    for lint, path, text, expected in BAD:
        program = "rules" if lint in names else lint
        expected = [expected] + ([f"[{lint}]"] if lint in names else [])
        status, output = run(program, {path: text})
        if status != 1 or not all(piece in output for piece in expected):
            wrong.append(f"{lint} does not say {expected} about {path}, but (status {status}):\n{output}")
    for limit, piece in ((budgets.INCLUDE_DEPTH, "deep"), (budgets.SOURCE_INCLUDES, "headers of ours")):
        status, output = run("budgets", include_chain(limit + 1))
        if status != 1 or piece not in output:
            wrong.append(f"budgets does not see a chain of {limit + 1} includes:\n{output}")
    for text, allowed in (("int x  ;\n", (1, 77)), ("int x;\n", (0, 77))):
        if format_of(text) not in allowed:
            wrong.append(f"format.sh is wrong about {text!r}")
    for name in names - {case[0] for case in BAD}:
        wrong.append(f"rule {name} has no bad example here")
    print("\n".join(wrong))
    print(f"selftest: {len(BAD) + 7} cases, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
