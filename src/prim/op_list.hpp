#pragma once
// What a command buffer collects between its creation and commit. Plain data: passes take a list and return a list.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "prim/prim.hpp"

namespace kovar::prim {

struct Arg {
  std::uint32_t storage = 0;  ///< index into OpList::storages
  Access access = Access::Read;
  View view;
  bool operator==(const Arg&) const = default;
};

/// Work runs only if every listed 32-bit word is non-zero when the operation's turn comes.
struct PredicateWord {
  std::uint32_t storage = 0;
  std::uint64_t byteOffset = 0;
  bool operator==(const PredicateWord&) const = default;
};

struct Op {
  Prim prim;
  Scalars scalars;             ///< not part of the key
  std::uint32_t firstArg = 0;  ///< arguments are OpList::args[firstArg .. firstArg + argCount)
  std::uint32_t argCount = 0;
  std::int32_t predicates = -1;  ///< index into OpList::predicateSets, or none
  std::uint32_t origin = 0;      ///< index, in the list as encoded, of the operation whose scalars this one uses
};

struct StorageInfo {
  std::size_t bytes = 0;
  bool temporary = false;   ///< lives in the arena; nobody outside the list reads it
  bool promotable = false;  ///< a temporary float16 image: may be kept in float32
  bool operator==(const StorageInfo&) const = default;
};

struct OpList {
  std::vector<Op> ops;
  std::vector<Arg> args;
  std::vector<StorageInfo> storages;
  std::vector<std::vector<PredicateWord>> predicateSets;

  std::span<const Arg> argsOf(const Op& op) const { return {args.data() + op.firstArg, op.argCount}; }
  std::span<Arg> argsOf(const Op& op) { return {args.data() + op.firstArg, op.argCount}; }
  void add(Op op, std::span<const Arg> opArgs) {
    op.firstArg = static_cast<std::uint32_t>(args.size());
    op.argCount = static_cast<std::uint32_t>(opArgs.size());
    args.insert(args.end(), opArgs.begin(), opArgs.end());
    ops.push_back(op);
  }
  /// Key of the whole list: everything but the scalars.
  std::uint64_t hash() const;
  bool sameShape(const OpList& other) const;
  std::string text() const;
};

}  // namespace kovar::prim
