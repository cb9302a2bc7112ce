#include "kovar/MPS/NN/NNLocalCorrelation.hpp"

#include <string>

#include "base/edge.hpp"
#include "nn/arithmetic_parts.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {
namespace {

constexpr std::size_t kLargestWindow = 64, kLargestStride = std::size_t{1} << 16;

}  // namespace

NNLocalCorrelation::NNLocalCorrelation(const Ref<MTL::Device>& device) : CNNBinaryKernel(device) {}
NNLocalCorrelation::NNLocalCorrelation(const Ref<MTL::Device>& device, std::size_t windowInX, std::size_t windowInY,
                                       std::size_t strideInX, std::size_t strideInY)
    : CNNBinaryKernel(device), windowX_(windowInX), windowY_(windowInY), strideX_(strideInX), strideY_(strideInY) {}

std::size_t NNLocalCorrelation::doDestinationChannels(const std::vector<std::size_t>& used) {
  const std::string who = described() + ".encode: ";
  if (windowX_ > kLargestWindow || windowY_ > kLargestWindow)
    base::raise(who + "a window of " + std::to_string(windowX_) + " x " + std::to_string(windowY_) + "; each may be " +
                std::to_string(kLargestWindow) + " at most");
  if (strideX_ == 0 || strideY_ == 0 || strideX_ > kLargestStride || strideY_ > kLargestStride)
    base::raise(who + "a stride of " + std::to_string(strideX_) + " x " + std::to_string(strideY_) +
                "; each must lie between 1 and " + std::to_string(kLargestStride));
  if (used.size() > 1 && used[0] != used[1])
    base::raise(who + "the primary source has " + std::to_string(used[0]) + " feature channels, the secondary " +
                std::to_string(used[1]) + "; make them equal");
  return (2 * windowX_ + 1) * (2 * windowY_ + 1);
}

void NNLocalCorrelation::doEncode(nn::Call& call) {
  const nn::Tensor& dst = call.destination;
  const auto wx = static_cast<std::int64_t>(windowX_), wy = static_cast<std::int64_t>(windowY_),
             sx = static_cast<std::int64_t>(strideX_), sy = static_cast<std::int64_t>(strideY_);
  const nn::Tensor a = call.aligned(0);
  // Everything of B that any of the products reads, once.
  const nn::Tensor b = call.window(1, call.geometry[1].offsetY - wy * sy, call.geometry[1].offsetX - wx * sx,
                                   dst.h() + 2 * wy * sy, dst.w() + 2 * wx * sx);
  prim::Elementwise product;
  product.program.push(nn::ewLoad(0, 0));
  product.program.push(nn::ewLoad(1, 1));
  product.program.push(nn::ewStep(prim::EwOp::Mul, 0, 0, 1));
  product.program.push(nn::ewStore(0, 2));
  for (std::int64_t n = 0; n < 2 * wy + 1; ++n)
    for (std::int64_t m = 0; m < 2 * wx + 1; ++m) {
      const nn::Tensor shifted = b.slice(1, n * sy, dst.h()).slice(2, m * sx, dst.w());
      const nn::Tensor products = call.list.temporaryImage(prim::DType::F32, dst.n(), dst.h(), dst.w(), a.c());
      call.list.op(product, {a.read(), shifted.read(), products.write()});
      call.list.op(prim::Reduce{}, {products.read(), dst.slice(3, n * (2 * wx + 1) + m, 1).write()});
    }
}

}  // namespace kovar::MPS
