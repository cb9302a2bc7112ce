// The set of lanes that CUDA and ordinary host code use.
#include "lane_runner.hpp"
#include "lane_targets.hpp"

namespace kovar::test::scalar_lanes {

LaneSet set() {
  namespace m = maths::scalar;
  return {"scalar", true, m::runLaneCase<float>, m::runLaneCase<float>, m::runRandom, m::runFormats};
}

}  // namespace kovar::test::scalar_lanes
