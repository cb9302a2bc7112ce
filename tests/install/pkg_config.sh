#!/usr/bin/env bash
# usage: pkg_config.sh PKGCONFIG-FOLDER COMPILER SOURCE PROGRAM ARGUMENT
# Builds a program with what pkg-config says about kovar, and nothing else, and runs it.
set -euo pipefail
export PKG_CONFIG_PATH=$1
read -ra flags <<<"$(pkg-config --cflags --libs kovar)"
"$2" -std=c++20 -O1 "$3" -o "$4" "${flags[@]}"
exec "$4" "$5"
