// Softmax and its gradient: a warp for each row.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/warp.cuh"
#include "maths/softmax-inl.hpp"

namespace kovar::cuda {
namespace {

constexpr int kRows = kBlockThreads / kWarp;  // of a block

/// A row's elements lane, lane + 32 ... kept in registers where kPer of them are enough, else read again.
template <int kPer>
struct Row {
  const Strided& view;
  const std::byte* at;
  std::int64_t length;
  int lane;
  float kept[kPer > 0 ? kPer : 1];

  __device__ Row(const Strided& v, const std::byte* start, std::int64_t n, int l)
      : view(v), at(start), length(n), lane(l) {
    if constexpr (kPer > 0) {
#pragma unroll
      for (int k = 0; k < kPer; ++k) {
        const std::int64_t i = lane + std::int64_t{kWarp} * k;
        kept[k] = i < length ? loadElement(view.type, at + i * view.step[0]) : 0.f;
      }
    }
  }

  /// fn(position, value) for each of this lane's elements.
  template <class F>
  __device__ void each(const F& fn) const {
    if constexpr (kPer > 0) {
#pragma unroll
      for (int k = 0; k < kPer; ++k) {
        const std::int64_t i = lane + std::int64_t{kWarp} * k;
        if (i < length) fn(i, kept[k]);
      }
    } else {
      for (std::int64_t i = lane; i < length; i += kWarp) fn(i, loadElement(view.type, at + i * view.step[0]));
    }
  }
};

template <int kPer>
__global__ void __launch_bounds__(kBlockThreads) softmaxKernel(const __grid_constant__ SoftmaxParams p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kRows;
  // All warps of a block take the same number of turns: shuffles need every lane.
  for (std::int64_t base = first; base < p.rows; base += static_cast<std::int64_t>(gridDim.x) * kRows) {
    const std::int64_t r = base + static_cast<int>(threadIdx.x) / kWarp;
    const bool valid = r < p.rows;
    const Offsets row(p.nest, valid ? r : 0);
    const Strided& out = p.view[p.gradient ? 2 : 1];
    std::byte* to = out.data + (p.gradient ? row.of[2] : row.of[1]);
    const std::int64_t length = valid ? p.length : 0;
    const Row<kPer> x(p.view[0], p.view[0].data + row.of[0], length, lane);
    if (!p.gradient) {
      float most = -m::infinity<float>();
      x.each([&](std::int64_t, float v) { most = m::softmaxMax(most, v); });
      most = warpAll(most, [](float a, float b) { return m::softmaxMax(a, b); });
      float sum = 0.f;
      x.each([&](std::int64_t, float v) { sum += m::softmaxTerm(v, most); });
      sum = warpAll(sum, [](float a, float b) { return a + b; });
      const float logSum = p.log ? m::log(sum) : sum;
      x.each([&](std::int64_t i, float v) {
        storeElement(out.type, to + i * out.step[0],
                     p.log ? m::logSoftmax(v, most, logSum) : m::softmaxTerm(v, most) / sum);
      });
    } else {
      const Row<0> y(p.view[1], p.view[1].data + row.of[1], length, lane);
      float sum = 0.f;
      // Both rows are walked alike; the second is read where the first one's position says.
      x.each([&](std::int64_t i, float g) {
        sum = p.log ? sum + g : m::fma(g, loadElement(y.view.type, y.at + i * y.view.step[0]), sum);
      });
      sum = warpAll(sum, [](float a, float b) { return a + b; });
      x.each([&](std::int64_t i, float g) {
        const float v = loadElement(y.view.type, y.at + i * y.view.step[0]);
        storeElement(out.type, to + i * out.step[0], p.log ? m::logSoftmaxBwd(g, v, sum) : m::softmaxBwd(g, v, sum));
      });
    }
  }
}

/// Short rows of packed float32: kGroup lanes share one, four neighbouring elements each.
template <int kGroup>
__global__ void __launch_bounds__(kBlockThreads) softmaxGroups(const __grid_constant__ SoftmaxParams p) {
  constexpr int kRowsOfBlock = kBlockThreads / kGroup;
  const auto start = static_cast<std::int64_t>(threadIdx.x) % kGroup * 4;
  for (std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * kRowsOfBlock; base < p.rows;
       base += static_cast<std::int64_t>(gridDim.x) * kRowsOfBlock) {
    const std::int64_t r = base + static_cast<int>(threadIdx.x) / kGroup;
    const bool mine = r < p.rows && start < p.length;
    const Offsets row(p.nest, r < p.rows ? r : 0);
    const auto at = [&](int view) {
      return reinterpret_cast<float4*>(p.view[view].data + row.of[view] + start * 4);
    };
    float4 x = make_float4(0.f, 0.f, 0.f, 0.f), result = x;
    if (mine) x = *at(0);
    const auto add = [](float a, float b) { return a + b; };
    if (!p.gradient) {
      float most = -m::infinity<float>();
      if (mine) most = m::softmaxMax(m::softmaxMax(m::softmaxMax(m::softmaxMax(most, x.x), x.y), x.z), x.w);
      most = groupAll<kGroup>(most, [](float a, float b) { return m::softmaxMax(a, b); });
      if (mine)
        result = make_float4(m::softmaxTerm(x.x, most), m::softmaxTerm(x.y, most), m::softmaxTerm(x.z, most),
                             m::softmaxTerm(x.w, most));
      const float sum = groupAll<kGroup>(result.x + result.y + result.z + result.w, add);
      if (p.log) {
        const float logSum = m::log(sum);
        result = make_float4(m::logSoftmax(x.x, most, logSum), m::logSoftmax(x.y, most, logSum),
                             m::logSoftmax(x.z, most, logSum), m::logSoftmax(x.w, most, logSum));
      } else {
        result = make_float4(result.x / sum, result.y / sum, result.z / sum, result.w / sum);
      }
    } else {
      float4 y = make_float4(0.f, 0.f, 0.f, 0.f);
      if (mine) y = *at(1);
      float sum = p.log ? x.x + x.y + x.z + x.w : m::fma(x.w, y.w, m::fma(x.z, y.z, m::fma(x.y, y.y, x.x * y.x)));
      sum = groupAll<kGroup>(sum, add);
      const auto back = [&](float g, float v) {
        return p.log ? m::logSoftmaxBwd(g, v, sum) : m::softmaxBwd(g, v, sum);
      };
      result = make_float4(back(x.x, y.x), back(x.y, y.y), back(x.z, y.z), back(x.w, y.w));
    }
    if (mine) *(p.gradient ? at(2) : at(1)) = result;
  }
}

template <int kGroup>
cudaError_t groups(const SoftmaxParams& p, cudaStream_t stream) {
  return launchBlocks(softmaxGroups<kGroup>, dim3(blocksFor(p.rows, kBlockThreads / kGroup, 1 << 18)),
                      dim3(kBlockThreads), stream, p);
}

}  // namespace

cudaError_t runSoftmax(const SoftmaxParams& p, cudaStream_t stream) {
  if (p.vectors && p.length <= 16) return groups<4>(p, stream);
  if (p.vectors && p.length <= 64) return groups<16>(p, stream);
  if (p.vectors && p.length <= 128) return groups<32>(p, stream);
  const dim3 blocks(blocksFor(p.rows, kRows, 1 << 16));
  if (p.length <= 4 * kWarp) return launchBlocks(softmaxKernel<4>, blocks, dim3(kBlockThreads), stream, p);
  if (p.length <= 32 * kWarp) return launchBlocks(softmaxKernel<32>, blocks, dim3(kBlockThreads), stream, p);
  return launchBlocks(softmaxKernel<0>, blocks, dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
