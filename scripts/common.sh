# shellcheck shell=bash
# Sourced by the scripts beside it: the repository's root, the number of cores, one line for a failure.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc)
cd "$root" || exit 1

# fail TEXT: one line on standard error, then out.
fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# quietly WHAT COMMAND...: runs a command, shows its last lines only if it fails.
quietly() {
  local what=$1 log
  shift
  mkdir -p build
  log=$(mktemp build/.log.XXXXXX)
  if ! "$@" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    mv "$log" build/failed.log
    fail "$what failed: the whole output is in $root/build/failed.log"
  fi
  rm -f "$log"
}

# build_preset PRESET [TARGET...]: configures and builds; ninja's own progress is shown.
build_preset() {
  local preset=$1
  shift
  quietly "cmake --preset $preset" cmake --preset "$preset"
  cmake --build --preset "$preset" --parallel "$jobs" ${1:+--target "$@"} ||
    fail "the build failed: the compiler's message stands above (cmake --build --preset $preset repeats it)"
}
