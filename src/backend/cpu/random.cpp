// Dropout and random matrices. Element e of image i always takes word e mod 4 of block e div 4, so any cut of the work
// gives the same numbers.

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/random.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"
#include "maths/formats-inl.hpp"
#include "maths/philox-inl.hpp"

#ifndef KOVAR_BACKEND_CPU_RANDOM_ONCE
#define KOVAR_BACKEND_CPU_RANDOM_ONCE
namespace kovar::cpu {

/// Elements drawn at once, and room for a whole vector of blocks before and after them.
inline constexpr std::int64_t kDraw = 1024, kDrawRoom = kDraw + 8 * 16;

/// One row of elements that take their mask from consecutive or equal mask elements.
struct DropoutRow {
  std::byte *src, *dst, *mask;  ///< mask: where its bytes go or come from, may be null
  std::int64_t srcStep, dstStep, maskStep;
  std::int64_t length;
};

}  // namespace kovar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

/// Uniform or normal numbers of elements [first, first + n), n <= kDraw; returns where the first one stands in `room`.
template <bool kNormal>
const float* draw(const maths::RandomStream& stream, std::int64_t first, std::int64_t n, float* room) {
  const std::int64_t block = first / 4, end = divideUp(first + n, 4);
  float* out = room;
  for (std::int64_t b = block; b < end; b += kLanes, out += 4 * kLanes) {
    if constexpr (kNormal)
      m::storeNormal<Floats>(stream, static_cast<std::uint64_t>(b), out);
    else
      m::storeUniform<Floats>(stream, static_cast<std::uint64_t>(b), out);
  }
  return room + (first - block * 4);
}

/// Mask bytes, 1 where the uniform number is below keep.
void storeMask(const float* u, std::int64_t n, float keep, std::byte* mask, std::int64_t step) {
  std::int64_t i = 0;
  for (; step == 1 && i + kLanes <= n; i += kLanes) {
    const auto kept = m::load<Floats>(u + i) < Floats(keep);
    m::storeCodes(m::select(kept, m::Bits(1u), m::Bits(0u)), reinterpret_cast<std::uint8_t*>(mask + i));
  }
  for (; i < n; ++i) mask[i * step] = u[i] < keep ? std::byte{1} : std::byte{0};
}

/// dst = src where the uniform number is below keep, scaled; the mask bytes too where wanted.
void dropoutRow(const maths::RandomStream& stream, std::int64_t firstElement, float keep, const DropoutRow& row,
                prim::DType srcType, prim::DType dstType) {
  HWY_ALIGN float room[kDrawRoom];
  HWY_ALIGN float values[kDraw];
  const auto srcSize = static_cast<std::int64_t>(prim::sizeOf(srcType)),
             dstSize = static_cast<std::int64_t>(prim::sizeOf(dstType));
  for (std::int64_t begin = 0; begin < row.length; begin += kDraw) {
    const std::int64_t n = std::min(kDraw, row.length - begin);
    const float* u = draw<false>(stream, firstElement + begin, n, room);
    const float* x =
        floatRow(srcType, row.src + begin * row.srcStep, row.length == 1 ? srcSize : row.srcStep, n, values);
    std::byte* to = row.dst + begin * row.dstStep;
    const bool direct = isFloatRun(dstType, row.length == 1 ? dstSize : row.dstStep);
    float* out = direct ? reinterpret_cast<float*>(to) : values;
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      m::store(m::dropout(m::load<Floats>(x + i), m::load<Floats>(u + i), keep), out + i);
    if (i < n) storePart(m::dropout(loadPart(x + i, n - i), loadPart(u + i, n - i), keep), out + i, n - i);
    if (!direct) storeRow(dstType, out, n, to, row.dstStep);
    if (row.mask != nullptr) storeMask(u, n, keep, row.mask + begin * row.maskStep, row.maskStep);
  }
}

/// Mask bytes of elements [first, first + n), one after another.
void drawMask(const maths::RandomStream& stream, std::int64_t first, std::int64_t n, float keep, std::byte* mask,
              std::int64_t maskStep) {
  HWY_ALIGN float room[kDrawRoom];
  for (std::int64_t begin = 0; begin < n; begin += kDraw) {
    const std::int64_t count = std::min(kDraw, n - begin);
    const float* u = draw<false>(stream, first + begin, count, room);
    storeMask(u, count, keep, mask + begin * maskStep, maskStep);
  }
}

/// dst = src / keep where the mask is not 0, else 0.
void applyMask(float keep, const DropoutRow& row, prim::DType srcType, prim::DType dstType) {
  HWY_ALIGN float values[kDraw];
  HWY_ALIGN float mask[kDraw];
  const auto dstSize = static_cast<std::int64_t>(prim::sizeOf(dstType));
  for (std::int64_t begin = 0; begin < row.length; begin += kDraw) {
    const std::int64_t n = std::min(kDraw, row.length - begin);
    loadRow(srcType, row.src + begin * row.srcStep, row.srcStep, n, values);
    loadRow(prim::DType::U8, row.mask + begin * row.maskStep, row.maskStep, n, mask);
    std::byte* to = row.dst + begin * row.dstStep;
    const bool direct = isFloatRun(dstType, row.length == 1 ? dstSize : row.dstStep);
    float* out = direct ? reinterpret_cast<float*>(to) : values;
    // As if the uniform number were 0 where the mask keeps and 1 where it drops.
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      m::store(m::dropout(m::load<Floats>(values + i), Floats(1.f) - m::load<Floats>(mask + i), keep), out + i);
    if (i < n)
      storePart(m::dropout(loadPart(values + i, n - i), Floats(1.f) - loadPart(mask + i, n - i), keep), out + i, n - i);
    if (!direct) storeRow(dstType, out, n, to, row.dstStep);
  }
}

/// One row of a random matrix from element `first` on.
void randomRow(const prim::Random& desc, const maths::RandomStream& stream, std::int64_t first, std::int64_t length,
               float a, float b, prim::DType type, std::byte* p, std::int64_t step) {
  HWY_ALIGN float room[kDrawRoom];
  HWY_ALIGN float values[kDraw];
  for (std::int64_t begin = 0; begin < length; begin += kDraw) {
    const std::int64_t n = std::min(kDraw, length - begin);
    const bool normal = desc.kind == prim::RandomKind::Normal;
    const float* u = normal ? draw<true>(stream, first + begin, n, room) : draw<false>(stream, first + begin, n, room);
    for (std::int64_t i = 0; i < n; i += kLanes) {
      const auto v = m::load<Floats>(u + i);
      m::store(normal ? m::scaleNormal(v, a, b, desc.minimum, desc.maximum) : m::scaleUniform(v, a, b), values + i);
    }
    storeRow(type, values, n, p + begin * step, step);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(dropoutRow);
HWY_EXPORT(drawMask);
HWY_EXPORT(applyMask);
HWY_EXPORT(randomRow);

using prim::View;

std::int64_t sizeOfView(const View& v) { return static_cast<std::int64_t>(sizeOf(v.dtype)); }

maths::RandomStream streamOf(const prim::Scalars& s, std::int64_t item) {
  return {s.u[0], static_cast<std::uint32_t>(item), s.u[1]};
}

/// Byte offset of element (n, y, x, c).
std::int64_t offsetOf(const View& v, std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) {
  return (v.offset + n * v.stride(0) + y * v.stride(1) + x * v.stride(2) + c * v.stride(3)) * sizeOfView(v);
}

/// The longest rows of an image that are one run in every view: channels, or whole rows of pixels, or whole images.
struct Rows {
  std::int64_t y, x, c;  ///< rows per image along y, along x, and elements of one row

  Rows(const View& shape, std::initializer_list<const View*> views)
      : y(shape.dim(1)), x(shape.dim(2)), c(shape.dim(3)) {
    const auto joins = [&](int axis, std::int64_t elements) {
      return std::all_of(views.begin(), views.end(), [&](const View* v) {
        return v->stride(axis) == elements * v->stride(3) || v->dim(axis) == 1;
      });
    };
    if (!joins(2, c)) return;
    c *= std::exchange(x, 1);
    if (joins(1, c)) c *= std::exchange(y, 1);
  }
};

struct Dropout {
  prim::Random desc;
  View src, dst, mask;
  bool hasMask = false;
};

/// Every element has its own mask element: drawn and applied in one pass.
void runFullMask(const Dropout& d, Context& context, const prim::Invocation& inv) {
  const Rows rows = d.hasMask ? Rows(d.src, {&d.src, &d.dst, &d.mask}) : Rows(d.src, {&d.src, &d.dst});
  // Long rows are cut; the pieces start at multiples of 4, where a block of numbers starts.
  const std::int64_t piece = std::min(rows.c, kChunkElements), pieces = divideUp(rows.c, piece);
  const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / rows.c);
  forRanges(context.pool, d.src.dim(0) * rows.y * rows.x * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t part = i % pieces * piece, x = i / pieces % rows.x, y = i / pieces / rows.x % rows.y;
      const std::int64_t n = i / pieces / rows.x / rows.y;
      DropoutRow row{};
      row.src = inv.args[0].data + offsetOf(d.src, n, y, x, part);
      row.dst = inv.args[1].data + offsetOf(d.dst, n, y, x, part);
      row.mask = d.hasMask ? inv.args[2].data + offsetOf(d.mask, n, y, x, part) : nullptr;
      row.srcStep = d.src.stride(3) * sizeOfView(d.src);
      row.dstStep = d.dst.stride(3) * sizeOfView(d.dst);
      row.maskStep = d.hasMask ? d.mask.stride(3) : 0;
      row.length = std::min(piece, rows.c - part);
      HWY_DYNAMIC_DISPATCH(dropoutRow)
      (streamOf(*inv.scalars, n), (y * rows.x + x) * rows.c + part, d.desc.keep, row, d.src.dtype, d.dst.dtype);
    }
  });
}

/// dst from src and a mask that lies in memory. Mask element of pixel (y, x): (y * strideY + offsetY, x * strideX +
/// offsetX).
void runApply(const Dropout& d, Context& context, std::byte* src, std::byte* dst, std::byte* mask) {
  const std::int64_t height = d.src.dim(1), width = d.src.dim(2), channels = d.src.dim(3);
  const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / channels);
  forRanges(context.pool, d.src.dim(0) * height * width, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / width / height, y = i / width % height, x = i % width;
      const std::int64_t my = y * d.desc.maskStride[0] + d.desc.maskOffsetY,
                         mx = x * d.desc.maskStride[1] + d.desc.maskOffsetX;
      DropoutRow row{};
      row.src = src + offsetOf(d.src, n, y, x, 0);
      row.dst = dst + offsetOf(d.dst, n, y, x, 0);
      row.mask = mask + offsetOf(d.mask, n, my, mx, 0);
      row.srcStep = d.src.stride(3) * sizeOfView(d.src);
      row.dstStep = d.dst.stride(3) * sizeOfView(d.dst);
      row.maskStep = d.desc.maskStride[2] != 0 ? d.mask.stride(3) : 0;
      row.length = channels;
      HWY_DYNAMIC_DISPATCH(applyMask)(d.desc.keep, row, d.src.dtype, d.dst.dtype);
    }
  });
}

/// A mask that several elements share: drawn first, in its own small extents, then applied.
void runSharedMask(const Dropout& d, Context& context, const prim::Invocation& inv) {
  std::byte* mask = d.hasMask ? inv.args[2].data : inv.scratch;
  const std::int64_t width = d.mask.dim(2), channels = d.mask.dim(3), perImage = d.mask.dim(1) * width;
  const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / channels);
  forRanges(context.pool, d.mask.dim(0) * perImage, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t n = i / perImage, pixel = i % perImage;
      HWY_DYNAMIC_DISPATCH(drawMask)
      (streamOf(*inv.scalars, n), pixel * channels, channels, d.desc.keep,
       mask + offsetOf(d.mask, n, pixel / width, pixel % width, 0), d.mask.stride(3));
    }
  });
  runApply(d, context, inv.args[0].data, inv.args[1].data, mask);
}

base::Status prepareDropout(const prim::Random& desc, std::span<const View> views, CpuPlan& plan) {
  Dropout d;
  d.desc = desc;
  d.src = views[0];
  if (desc.direction == prim::Direction::Data) {
    d.mask = views[1];
    d.dst = views[2];
    const std::int64_t lastY = (d.src.dim(1) - 1) * desc.maskStride[0] + desc.maskOffsetY;
    const std::int64_t lastX = (d.src.dim(2) - 1) * desc.maskStride[1] + desc.maskOffsetX;
    const std::int64_t lastC = (d.src.dim(3) - 1) * desc.maskStride[2];
    if (desc.maskOffsetY < 0 || desc.maskOffsetX < 0 || lastY >= d.mask.dim(1) || lastX >= d.mask.dim(2) ||
        lastC >= d.mask.dim(3))
      return base::Failure{"the gradient " + d.src.text() + " reads outside the mask " + d.mask.text()};
    plan.body = [d](Context& context, const prim::Invocation& inv) -> base::Status {
      runApply(d, context, inv.args[0].data, inv.args[2].data, inv.args[1].data);
      return {};
    };
    return {};
  }
  d.dst = views[1];
  d.hasMask = desc.writeMask;
  std::array<std::int64_t, 3> extent{};
  for (int axis = 0; axis < 3; ++axis)
    extent[static_cast<std::size_t>(axis)] =
        desc.maskStride[static_cast<std::size_t>(axis)] != 0 ? d.src.dim(axis + 1) : 1;
  if (d.hasMask) {
    d.mask = views[2];
    for (int axis = 0; axis < 3; ++axis)
      if (d.mask.dim(axis + 1) != extent[static_cast<std::size_t>(axis)])
        return base::Failure{"the mask " + d.mask.text() + " does not fit " + d.src.text() + " and the mask strides"};
  } else {
    d.mask = View::contiguous(prim::DType::U8, {d.src.dim(0), extent[0], extent[1], extent[2]});
  }
  const bool full = d.mask.dim(1) == d.src.dim(1) && d.mask.dim(2) == d.src.dim(2) && d.mask.dim(3) == d.src.dim(3);
  if (!full && !d.hasMask) plan.scratchBytes = static_cast<std::size_t>(d.mask.elements());
  // The forward mask starts at the destination's first pixel.
  d.desc.maskOffsetY = d.desc.maskOffsetX = 0;
  plan.body = [d, full](Context& context, const prim::Invocation& inv) -> base::Status {
    if (full)
      runFullMask(d, context, inv);
    else
      runSharedMask(d, context, inv);
    return {};
  };
  return {};
}

base::Status prepareRandom(const prim::Random& desc, std::span<const View> views, const prim::PrepareOptions&,
                           CpuPlan& plan) {
  if (desc.kind == prim::RandomKind::Dropout) return prepareDropout(desc, views, plan);
  plan.body = [desc, dst = views[0]](Context& context, const prim::Invocation& inv) -> base::Status {
    const std::int64_t columns = dst.dim(1), size = sizeOfView(dst);
    const std::int64_t piece = std::min(columns, kChunkElements), pieces = divideUp(columns, piece);
    const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / columns);
    forRanges(context.pool, dst.dim(0) * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = i / pieces, first = i % pieces * piece;
        std::byte* p = inv.args[0].data + (dst.offset + row * dst.stride(0) + first * dst.stride(1)) * size;
        HWY_DYNAMIC_DISPATCH(randomRow)
        (desc, streamOf(*inv.scalars, 0), row * columns + first, std::min(piece, columns - first), inv.scalars->f[0],
         inv.scalars->f[1], dst.dtype, p, dst.stride(1) * size);
      }
    });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Random> kCandidates[] = {{"cpu:random:philox", prepareRandom}};

}  // namespace

std::span<const Candidate<prim::Random>> randomCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
