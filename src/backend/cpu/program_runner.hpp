#pragma once
// Runs an element-wise program over blocks of a loop nest that fit the first-level cache: one vector loop per step.
// float32 arguments that lie in one run are used where they are, so a short program streams at memory speed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/loops.hpp"
#include "prim/program.hpp"
#include "prim/view.hpp"

namespace kovar::cpu {

class ProgramRunner {
 public:
  /// How register 0 begins and ends.
  enum class Use {
    Whole,    ///< as any other register
    InPlace,  ///< loaded from `result` before the program and stored to it afterwards
    Rows,     ///< given and handed back by runRow()
  };

  ProgramRunner() = default;
  /// `views[i]` is argument i of the program; all that it names have the dims of `result`.
  ProgramRunner(const prim::Program& program, std::span<const prim::View> views, Use use, const prim::View& result);

  const Loops& loops() const { return loops_; }
  /// Arguments in the order that run() takes their storages: program argument numbers (that of `result` is
  /// views.size()).
  std::span<const std::size_t> arguments() const { return arguments_; }

  /// Runs blocks [begin, end) of BlockGrid(loops), loops() or a part of it. `storage[i]` is the first byte of the
  /// storage of arguments()[i].
  void run(const Loops& loops, std::byte* const* storage, std::int64_t begin, std::int64_t end) const;

  /// Runs the program on `length` elements: register 0 starts as `values`; its last value goes to `out`, which may be
  /// `values`. Argument i starts at first[i] and moves step[i] bytes per element.
  void runRow(std::byte* const* first, const std::int64_t* step, std::int64_t length, const float* values,
              float* out) const;

  /// Loads whose values may be kept from block to block.
  static constexpr std::uint8_t kKeptLoads = 4;

  struct Instruction {
    prim::EwStep step;
    std::uint8_t view = 0;       ///< index into arguments(), for Load and Store
    bool inPlace = false;        ///< Load: the register may be the argument's own memory
    std::uint8_t kept = 0xff;    ///< Load: where a value that is the same for all rows is kept, if below kKeptLoads
    bool storesThrough = false;  ///< the next instruction stores this result and nothing else needs it
  };
  struct Code {
    std::vector<Instruction> instructions;
    std::array<prim::DType, kMaxLoopViews> types{};
  };

 private:
  Code code_;
  Loops loops_;
  std::vector<std::size_t> arguments_;
};

}  // namespace kovar::cpu
