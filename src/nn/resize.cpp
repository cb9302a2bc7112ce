#include "kovar/MPS/NN/NNResize.hpp"

#include <cmath>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/NNGridSample.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::MPS {
namespace {

/// Sizes beyond this are refused: positions computed from one stay far from the limits of their types.
constexpr std::size_t kLargest = std::size_t{1} << 24;

std::size_t checkedSize(const char* who, const char* property, std::size_t size) {
  if (size == 0 || size > kLargest)
    base::raise(std::string(who) + "." + property + ": " + std::to_string(size) + "; it must lie between 1 and " +
                std::to_string(kLargest));
  return size;
}

std::int32_t narrow(std::int64_t v) { return static_cast<std::int32_t>(v); }

maths::Sampling samplingOf(std::int64_t source, std::size_t size, bool alignCorners, std::int64_t offset) {
  const auto n = static_cast<std::int64_t>(size);
  maths::Sampling s{narrow(offset), 0, source, n};
  if (alignCorners) s.numerator = n == 1 ? 0 : source - 1, s.denominator = n == 1 ? 1 : n - 1;
  return s;
}

}  // namespace

NNResizeBilinear::NNResizeBilinear(const Ref<MTL::Device>& device, std::size_t resizeWidth, std::size_t resizeHeight,
                                   bool alignCorners)
    : CNNKernel(device),
      width_(checkedSize("NNResizeBilinear", "resizeWidth", resizeWidth)),
      height_(checkedSize("NNResizeBilinear", "resizeHeight", resizeHeight)),
      alignCorners_(alignCorners) {}

Ref<ImageDescriptor> NNResizeBilinear::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                    const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  sources_[0].offset.x = sources_[0].offset.y = 0;
  d->setWidth(width_);
  d->setHeight(height_);
  return d;
}

void NNResizeBilinear::doEncode(nn::Call& call) {
  const nn::Tensor& src = call.sources[0];
  const nn::SourceGeometry& g = call.geometry[0];
  prim::Resample resample;
  resample.kind = prim::ResampleKind::Bilinear;
  resample.zeroEdge = false;
  resample.y = samplingOf(src.h(), height_, alignCorners_, g.offsetY);
  resample.x = samplingOf(src.w(), width_, alignCorners_, g.offsetX);
  call.list.op(resample, {src.read(), call.destination.write()});
}

NNCropAndResizeBilinear::NNCropAndResizeBilinear(const Ref<MTL::Device>& device, std::size_t resizeWidth,
                                                 std::size_t resizeHeight, std::size_t numberOfRegions,
                                                 const Ref<Region>& regions)
    : NNCropAndResizeBilinear(
          device, resizeWidth, resizeHeight,
          regions ? std::vector<Region>(regions.get(), regions.get() + numberOfRegions) : std::vector<Region>()) {}

NNCropAndResizeBilinear::NNCropAndResizeBilinear(const Ref<MTL::Device>& device, std::size_t resizeWidth,
                                                 std::size_t resizeHeight, const std::vector<Region>& regions)
    : CNNKernel(device),
      width_(checkedSize("NNCropAndResizeBilinear", "resizeWidth", resizeWidth)),
      height_(checkedSize("NNCropAndResizeBilinear", "resizeHeight", resizeHeight)),
      regions_(std::make_shared<std::vector<Region>>(regions)) {
  if (regions.empty()) base::raise("NNCropAndResizeBilinear: no regions given; give at least one");
}

Ref<ImageDescriptor> NNCropAndResizeBilinear::doDestinationImageDescriptor(
    const std::vector<Ref<Image>>& sourceImages, const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  sources_[0].offset.x = sources_[0].offset.y = 0;
  d->setWidth(width_);
  d->setHeight(height_);
  d->setNumberOfImages(sourceImages[0]->numberOfImages() * regions_->size());
  return d;
}

void NNCropAndResizeBilinear::doEncode(nn::Call& call) {
  const nn::Tensor &src = call.sources[0], &dst = call.destination;
  if (call.geometry[0].offsetX != 0 || call.geometry[0].offsetY != 0)
    base::raise(described() + ".encode: regions say where to read; leave offset at its default");
  const auto count = static_cast<std::int64_t>(regions_->size());
  // Rows of coordinates: for each region first y for every result row, then x for every result column.
  std::vector<float> coordinates;
  const auto add = [&](double origin, double size, std::int64_t extent, std::size_t results, std::int64_t used) {
    const auto last = static_cast<double>(extent - 1);
    for (std::int64_t i = 0; i < used; ++i)
      coordinates.push_back(static_cast<float>(results == 1 ? (origin + 0.5 * size) * last
                                                            : origin * last + static_cast<double>(i) * size * last /
                                                                                  static_cast<double>(results - 1)));
  };
  for (const Region& r : *regions_) add(r.origin.y, r.size.height, src.h(), height_, dst.h());
  for (const Region& r : *regions_) add(r.origin.x, r.size.width, src.w(), width_, dst.w());
  const auto storage = nn::uploadedOnce(coordinatesOnDevice_, device_, coordinates);
  prim::View y = prim::View::contiguous(prim::DType::F32, {count, dst.h(), 1, 1});
  prim::View x = prim::View::contiguous(prim::DType::F32, {count, 1, dst.w(), 1}, count * dst.h());
  y.dims[2] = dst.w(), y.strides[2] = 0;
  x.dims[1] = dst.h(), x.strides[1] = 0;
  prim::Sample sample;
  sample.edge = maths::SampleEdge::Inside;
  for (std::int64_t n = 0; n < src.n(); ++n) {
    // One source image for all regions.
    nn::Tensor from = src.slice(0, n, 1);
    from.view.dims[0] = count;
    from.view.strides[0] = 0;
    call.list.op(sample, {from.read(), nn::Tensor{storage, y}.read(), nn::Tensor{storage, x}.read(),
                          dst.slice(0, n * count, count).write()});
  }
}

NNGridSample::NNGridSample(const Ref<MTL::Device>& device) : CNNBinaryKernel(device) {}

Ref<ImageDescriptor> NNGridSample::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernelBase::doDestinationImageDescriptor(sourceImages, sourceStates);
  sources_[0].offset.x = sources_[0].offset.y = 0;
  sources_[1].offset.x = sources_[1].offset.y = 0;
  d->setWidth(sourceImages[1]->width());
  d->setHeight(sourceImages[1]->height());
  return d;
}

void NNGridSample::doEncode(nn::Call& call) {
  if (call.sources[1].c() < 2)
    base::raise(described() + ".encode: the secondary source gives " + std::to_string(call.sources[1].c()) +
                " feature channel; it needs two, x and y");
  const nn::Tensor &src = call.sources[0], &dst = call.destination;
  const nn::Tensor grid = call.aligned(1);
  prim::Sample sample;
  sample.edge = call.geometry[0].edgeMode == ImageEdgeMode::Clamp ? maths::SampleEdge::Clamp : maths::SampleEdge::Zero;
  sample.relative = !absolute_;
  sample.startY = narrow(call.geometry[0].offsetY);
  sample.startX = narrow(call.geometry[0].offsetX);
  call.list.op(sample, {src.read(), grid.slice(3, 1, 1).read(), grid.slice(3, 0, 1).read(), dst.write()});
}

}  // namespace kovar::MPS
