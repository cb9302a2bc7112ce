#pragma once
// A reduction as its plan sees it: kept axes, of which the last one is walked as a row, and reduced axes.

#include <cstdint>
#include <vector>

#include "prim/desc.hpp"
#include "prim/view.hpp"

namespace kovar::cpu {

struct ReduceAxis {
  std::int64_t count = 1;
  std::int64_t srcStep = 0, dstStep = 0;  ///< bytes
};

/// Partial results: `columns` neighbours along the kept row where that is the source's innermost axis, else one
/// element.
struct ReducePlan {
  prim::Reduce desc;
  prim::DType srcType{}, dstType{};
  std::int64_t srcStart = 0, dstStart = 0;
  std::vector<ReduceAxis> kept;     ///< all but the row
  ReduceAxis row;                   ///< the last kept axis
  std::vector<ReduceAxis> reduced;  ///< outermost first; without the run
  ReduceAxis run;                   ///< the reduced innermost axis where there is one
  bool acrossRows = false;          ///< the row is innermost: whole rows are combined

  std::int64_t rows = 1;   ///< positions of `kept`
  std::int64_t steps = 1;  ///< positions of `reduced`, times pieces of the run
  std::int64_t runPieces = 1;
  std::int64_t tile = 1, tiles = 1;  ///< columns of one partial result, and tiles in the row
  std::int64_t stepsPerBlock = 1, blocks = 1;
};

/// Best value so far and where it stands.
struct ReducePartial {
  float* value = nullptr;
  std::uint32_t* index = nullptr;  ///< of ArgMin and ArgMax
};

}  // namespace kovar::cpu
