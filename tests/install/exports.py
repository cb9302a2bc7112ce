#!/usr/bin/env python3
"""A shared libkovar shows its public names and nothing else.

usage: exports.py NM LIBRARY
"""

import re
import subprocess
import sys

# kovar::Error, kovar::MPS::Image ... and functions that stand directly in kovar; what the compiler makes for classes.
PUBLIC = re.compile(
    r"^((typeinfo( name)?|vtable|VTT|construction vtable|guard variable|(non-)?virtual thunk|covariant return thunk) (for|to) )?"
    r"kovar::([A-Z]|(version|set[A-Z]\w*)\()"
)


def main():
    nm, library = sys.argv[1:]
    listing = subprocess.run([nm, "-DC", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    names = [line.split(None, 2)[2] for line in listing.splitlines() if len(line.split(None, 2)) == 3]
    wrong = [name for name in names if not PUBLIC.match(name)]
    for name in wrong[:20]:
        print(f"exported, but not public: {name}")
    if not any(name.startswith("kovar::version(") for name in names):
        wrong.append("kovar::version() is missing")
        print(wrong[-1])
    print(f"exports: {len(names)} names, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
