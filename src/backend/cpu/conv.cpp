#include "backend/cpu/conv.hpp"

#include <algorithm>

namespace kovar::cpu {

ConvShape describe(const prim::Conv& desc, std::span<const prim::View> views) {
  ConvShape s;
  s.desc = desc;
  s.ownArgs = desc.bias ? 4 : 3;
  switch (desc.direction) {
    case prim::Direction::Forward:
      s.srcArg = 0, s.weightsArg = 1, s.biasArg = 2, s.dstArg = s.ownArgs - 1;
      break;
    case prim::Direction::Data:
      s.dstArg = 0, s.weightsArg = 1, s.srcArg = 2;
      break;
    case prim::Direction::Weights:
      s.srcArg = 0, s.dstArg = 1, s.weightsArg = 2, s.biasArg = 3;
      break;
  }
  s.src = views[s.srcArg], s.dst = views[s.dstArg], s.weights = views[s.weightsArg];
  if (desc.bias) s.bias = views[s.biasArg];
  s.n = s.src.dim(0), s.hs = s.src.dim(1), s.ws = s.src.dim(2), s.ci = s.src.dim(3);
  s.hd = s.dst.dim(1), s.wd = s.dst.dim(2), s.co = s.dst.dim(3);
  s.groups = desc.groups, s.cig = s.ci / s.groups, s.cog = s.co / s.groups;
  s.kh = desc.y.kernel, s.kw = desc.x.kernel;
  return s;
}

std::vector<prim::Access> convAccess(const prim::Conv& desc) {
  using prim::Access;
  const Access weightGradient = desc.accumulate ? Access::ReadWrite : Access::Write;
  switch (desc.direction) {
    case prim::Direction::Forward:
      if (desc.bias) return {Access::Read, Access::Read, Access::Read, Access::Write};
      return {Access::Read, Access::Read, Access::Write};
    case prim::Direction::Data:
      return {Access::Read, Access::Read, Access::Write};
    case prim::Direction::Weights:
      if (desc.bias) return {Access::Read, Access::Read, weightGradient, weightGradient};
      return {Access::Read, Access::Read, weightGradient};
  }
  return {};
}

TapRange tapRange(const prim::Window& window, std::int64_t p, std::int64_t extent, std::int64_t positions) {
  // Source position x * stride + shift lies in [0, extent).
  const std::int64_t stride = window.stride, shift = p * window.dilation - window.pad;
  const std::int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  const std::int64_t last = extent - shift <= 0 ? 0 : (extent - shift + stride - 1) / stride;
  return {std::min(first, positions), std::clamp(last, std::min(first, positions), positions)};
}

std::span<const Candidate<prim::Conv>> convCandidates() {
  static constexpr Candidate<prim::Conv> kList[] = {
    {"cpu:conv:winograd", prepareConvWinograd},
#if KOVAR_HAS_ONEDNN
    {"cpu:conv:onednn", prepareConvOnednn},
#endif
    {"cpu:conv:depthwise", prepareConvDepthwise},
    {"cpu:conv:generic", prepareConvGeneric},
  };
  return kList;
}

}  // namespace kovar::cpu
