#!/usr/bin/env bash
# Are all sources formatted as .clang-format says? Ends with 77 (skipped) where there is no clang-format 14: other versions
# break lines elsewhere.
#   tools/lint/format.sh [--root DIR]     names the files that differ
#   tools/lint/format.sh --fix            formats them
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
fix=0
while [ $# -gt 0 ]; do
  case "$1" in
    --fix) fix=1 ;;
    --root) root=$2 && shift ;;
    *) echo "usage: tools/lint/format.sh [--fix] [--root DIR]" >&2 && exit 2 ;;
  esac
  shift
done

tool=
for name in clang-format-14 clang-format; do
  if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
    tool=$name
    break
  fi
done
if [ -z "$tool" ]; then
  echo "format: skipped, there is no clang-format 14"
  exit 77
fi

cd "$root"
files=()
for folder in include src tools tests examples bench; do
  [ -d "$folder" ] || continue
  while IFS= read -r file; do files+=("$file"); done < <(find "$folder" -name '*.[hc]pp' | sort)
done
if [ $fix = 1 ]; then
  "$tool" -i --style=file "${files[@]}"
  exit
fi
wrong=0
for file in "${files[@]}"; do
  if ! "$tool" --style=file "$file" | cmp -s - "$file"; then
    echo "$file: not formatted (tools/lint/format.sh --fix)"
    wrong=$((wrong + 1))
  fi
done
echo "format: $wrong of ${#files[@]} files differ"
[ $wrong -eq 0 ]
