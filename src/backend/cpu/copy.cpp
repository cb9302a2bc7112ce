// Copies are cut into boxes: along each axis the positions whose sources follow one another forwards, backwards, stand
// still, or lie outside form one run, and a run of every axis makes a box, which is a plain strided copy or a fill.

#include <cstring>
#include <optional>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/program_runner.hpp"
#include "backend/cpu/row_io.hpp"
#include "backend/cpu/transpose.hpp"
#include "prim/edge.hpp"

namespace kovar::cpu {
namespace {

using prim::Edge;
using prim::EwOp;
using prim::kOutside;
using prim::View;

std::vector<std::int64_t> sourceMap(std::int64_t dstExtent, std::int64_t srcExtent, std::int64_t shift, Edge edge) {
  std::vector<std::int64_t> map(static_cast<std::size_t>(dstExtent));
  for (std::int64_t i = 0; i < dstExtent; ++i)
    map[static_cast<std::size_t>(i)] = prim::edgeSource(i + shift, srcExtent, edge);
  return map;
}

/// Destination positions [first, first + count) read from source, source + step ...; nothing when source is kOutside.
struct Run {
  std::int64_t first, count, source, step;
};

std::vector<Run> runsOf(const std::vector<std::int64_t>& map) {
  std::vector<Run> runs;
  const auto extent = static_cast<std::int64_t>(map.size());
  for (std::int64_t i = 0; i < extent;) {
    const auto at = [&](std::int64_t k) { return map[static_cast<std::size_t>(k)]; };
    Run run{i, 1, at(i), 0};
    if (i + 1 < extent && (at(i + 1) == kOutside) == (at(i) == kOutside)) {
      const std::int64_t step = at(i + 1) - at(i);
      if (step >= -1 && step <= 1) {
        run.step = step;
        while (i + run.count < extent && at(i + run.count) == at(i) + run.count * step &&
               (at(i + run.count) == kOutside) == (at(i) == kOutside))
          ++run.count;
      }
    }
    runs.push_back(run);
    i += run.count;
  }
  return runs;
}

/// Moves elements of one size as they are.
class RawCopy {
 public:
  RawCopy(const View& src, const View& dst) : size_(static_cast<std::int64_t>(sizeOf(src.dtype))) {
    const std::array<View, 2> views{src, dst};
    loops_ = mergeLoops(views);
    columnBlocks_ = divideUp(loops_.columns().count, kPiece);
    rowsPerBlock_ = columnBlocks_ > 1 ? 1 : std::max<std::int64_t>(1, kPiece / loops_.columns().count);
    perPlane_ = columnBlocks_ * divideUp(loops_.rows().count, rowsPerBlock_);
  }

  std::int64_t blocks() const { return perPlane_ * loops_.planes(); }

  void run(const std::byte* src, std::byte* dst, std::int64_t block) const {
    const auto start = loops_.plane(block / perPlane_);
    const std::int64_t inPlane = block % perPlane_;
    const std::int64_t row = inPlane / columnBlocks_ * rowsPerBlock_, column = inPlane % columnBlocks_ * kPiece;
    const LoopAxis &rows = loops_.rows(), &columns = loops_.columns();
    src += start[0] + row * rows.step[0] + column * columns.step[0];
    dst += start[1] + row * rows.step[1] + column * columns.step[1];
    const std::int64_t rowEnd = std::min(rowsPerBlock_, rows.count - row);
    const std::int64_t n = std::min(kPiece, columns.count - column);
    const auto size = static_cast<std::size_t>(size_);
    if (rowEnd > 1 && n > 1 && rows.step[0] == size_ && columns.step[1] == size_)
      return transpose(size, src, columns.step[0], dst, rows.step[1], rowEnd, n);
    if (rowEnd > 1 && n > 1 && columns.step[0] == size_ && rows.step[1] == size_)
      return transpose(size, src, rows.step[0], dst, columns.step[1], n, rowEnd);
    const bool run = columns.step[0] == size_ && columns.step[1] == size_;
    for (std::int64_t r = 0; r < rowEnd; ++r, src += rows.step[0], dst += rows.step[1]) {
      if (run)
        std::memcpy(dst, src, static_cast<std::size_t>(n * size_));
      else if (size_ == 4)
        move<4>(src, dst, n);
      else if (size_ == 2)
        move<2>(src, dst, n);
      else
        move<1>(src, dst, n);
    }
  }

 private:
  static constexpr std::int64_t kPiece = 16384;

  template <std::size_t kSize>
  void move(const std::byte* src, std::byte* dst, std::int64_t n) const {
    const std::int64_t from = loops_.columns().step[0], to = loops_.columns().step[1];
    for (std::int64_t i = 0; i < n; ++i) std::memcpy(dst + i * to, src + i * from, kSize);
  }

  Loops loops_;
  std::int64_t size_, columnBlocks_ = 1, rowsPerBlock_ = 1, perPlane_ = 1;
};

/// One box: elements moved as they are, or a program (conversion, addition, fill).
struct Box {
  std::optional<RawCopy> raw;
  ProgramRunner runner;
  std::int64_t firstChunk = 0;

  std::int64_t chunks() const {
    return raw ? raw->blocks() : divideUp(BlockGrid(runner.loops()).blocks, kBlocksPerChunk);
  }
  void runChunk(std::span<const prim::Bound> args, std::int64_t chunk) const {
    if (raw) return raw->run(args[0].data, args[1].data, chunk);
    std::array<std::byte*, kMaxLoopViews> storage{};
    for (std::size_t i = 0; i < runner.arguments().size(); ++i) storage[i] = args[runner.arguments()[i]].data;
    const std::int64_t begin = chunk * kBlocksPerChunk;
    runner.run(runner.loops(), storage.data(), begin,
               std::min(BlockGrid(runner.loops()).blocks, begin + kBlocksPerChunk));
  }
};

Box copyBox(const View& src, const View& dst, bool accumulate) {
  Box box;
  if (src.dtype == dst.dtype && !accumulate) {
    box.raw.emplace(src, dst);
    return box;
  }
  prim::Program program;
  program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
  if (accumulate) {
    program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
    program.push({.op = EwOp::Add, .dst = 0, .a = 1, .b = 0});
  }
  program.push({.op = EwOp::Store, .a = 0, .arg = 1});
  const std::array<View, 2> views{src, dst};
  box.runner = ProgramRunner(program, views, ProgramRunner::Use::Whole, dst);
  return box;
}

Box fillBox(const View& dst, float value) {
  prim::Program program;
  program.push({.op = EwOp::Const, .dst = 0, .p = {value}});
  program.push({.op = EwOp::Store, .a = 0, .arg = 1});
  const std::array<View, 2> views{dst, dst};
  Box box;
  box.runner = ProgramRunner(program, views, ProgramRunner::Use::Whole, dst);
  return box;
}

std::vector<Box> forwardBoxes(const View& src, const View& dst, const std::array<std::int64_t, 4>& shift, Edge edge,
                              float outside, bool accumulate) {
  std::array<std::vector<Run>, prim::kMaxRank> runs;
  for (int axis = 0; axis < dst.rank; ++axis) {
    const auto a = static_cast<std::size_t>(axis);
    // Without a shift equal extents are one run, whatever the rank.
    if (src.dim(axis) == dst.dim(axis) && (axis >= 4 || shift[a] == 0))
      runs[a] = {{0, dst.dim(axis), 0, 1}};
    else
      runs[a] = runsOf(sourceMap(dst.dim(axis), src.dim(axis), shift[a], edge));
  }
  std::vector<Box> boxes;
  std::array<std::size_t, prim::kMaxRank> at{};
  std::int64_t chunks = 0;
  for (bool more = true; more;) {
    View from = src, to = dst;
    bool fills = false;
    for (int axis = 0; axis < dst.rank; ++axis) {
      const auto a = static_cast<std::size_t>(axis);
      const Run& run = runs[a][at[a]];
      to = to.slice(axis, run.first, run.count);
      from.dims[a] = run.count;
      if (run.source == kOutside) {
        fills = true;
        continue;
      }
      from.offset += run.source * src.stride(axis);
      from.strides[a] = run.step * src.stride(axis);
    }
    boxes.push_back(fills ? fillBox(to, outside) : copyBox(from, to, accumulate));
    boxes.back().firstChunk = chunks;
    chunks += boxes.back().chunks();
    more = false;
    for (int axis = dst.rank - 1; axis >= 0 && !more; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      more = ++at[a] < runs[a].size();
      if (!more) at[a] = 0;
    }
  }
  return boxes;
}

void setBody(std::vector<Box> boxes, CpuPlan& plan) {
  plan.cacheBytes += boxes.size() * sizeof(Box);
  plan.body = [boxes = std::make_shared<const std::vector<Box>>(std::move(boxes))](
                  Context& context, const prim::Invocation& inv) -> base::Status {
    const std::int64_t chunks = boxes->back().firstChunk + boxes->back().chunks();
    context.pool.run(static_cast<std::size_t>(chunks), [&](std::size_t i) {
      const auto chunk = static_cast<std::int64_t>(i);
      const auto after = std::upper_bound(boxes->begin(), boxes->end(), chunk,
                                          [](std::int64_t c, const Box& b) { return c < b.firstChunk; });
      const Box& box = *(after - 1);
      box.runChunk(inv.args, chunk - box.firstChunk);
    });
    return {};
  };
}

/// For each source position of an axis the destination positions that read it.
struct Readers {
  std::vector<std::int64_t> first, position;  ///< readers of p: position[first[p] .. first[p + 1])
  bool identity = true;                       ///< each p is read by p alone

  Readers(std::int64_t srcExtent, const std::vector<std::int64_t>& map)
      : first(static_cast<std::size_t>(srcExtent) + 1) {
    for (const std::int64_t s : map)
      if (s != kOutside) ++first[static_cast<std::size_t>(s) + 1];
    for (std::size_t p = 1; p < first.size(); ++p) first[p] += first[p - 1];
    position.resize(static_cast<std::size_t>(first.back()));
    std::vector<std::int64_t> next(first.begin(), first.end() - 1);
    for (std::size_t i = 0; i < map.size(); ++i)
      if (map[i] != kOutside)
        position[static_cast<std::size_t>(next[static_cast<std::size_t>(map[i])]++)] = static_cast<std::int64_t>(i);
    identity = static_cast<std::int64_t>(map.size()) == srcExtent;
    for (std::size_t i = 0; identity && i < map.size(); ++i) identity = map[i] == static_cast<std::int64_t>(i);
  }
  std::span<const std::int64_t> of(std::int64_t p) const {
    const auto i = static_cast<std::size_t>(p);
    return {position.data() + first[i], position.data() + first[i + 1]};
  }
};

/// The adjoint where several destination elements read one source element: each source element gathers its readers in
/// row-major order.
struct Gather {
  View diffDst, diffSrc;  // padded in front to rank 4
  std::vector<Readers> readers;

  void row(const std::byte* from, std::byte* to, std::int64_t n, std::int64_t y, std::int64_t x,
           std::vector<float>& sums, std::vector<float>& values) const {
    const auto fromSize = static_cast<std::int64_t>(sizeOf(diffDst.dtype));
    const std::int64_t channels = diffSrc.dim(3), given = diffDst.dim(3);
    sums.assign(static_cast<std::size_t>(channels), 0.f);
    values.resize(static_cast<std::size_t>(given));
    for (const std::int64_t rn : readers[0].of(n))
      for (const std::int64_t ry : readers[1].of(y))
        for (const std::int64_t rx : readers[2].of(x)) {
          const std::int64_t at =
              diffDst.offset + rn * diffDst.stride(0) + ry * diffDst.stride(1) + rx * diffDst.stride(2);
          readRow(diffDst.dtype, from + at * fromSize, diffDst.stride(3) * fromSize, given, values.data());
          if (readers[3].identity) {
            for (std::size_t c = 0; c < sums.size(); ++c) sums[c] += values[c];
          } else {
            for (std::int64_t c = 0; c < channels; ++c)
              for (const std::int64_t rc : readers[3].of(c))
                sums[static_cast<std::size_t>(c)] += values[static_cast<std::size_t>(rc)];
          }
        }
    const auto toSize = static_cast<std::int64_t>(sizeOf(diffSrc.dtype));
    const std::int64_t at = diffSrc.offset + n * diffSrc.stride(0) + y * diffSrc.stride(1) + x * diffSrc.stride(2);
    writeRow(diffSrc.dtype, sums.data(), channels, to + at * toSize, diffSrc.stride(3) * toSize);
  }
};

View padRank(const View& v) {
  View w = v;
  const int missing = 4 - v.rank;
  w.rank = 4;
  for (int axis = 3; axis >= 0; --axis) {
    const auto a = static_cast<std::size_t>(axis);
    w.dims[a] = axis >= missing ? v.dim(axis - missing) : 1;
    w.strides[a] = axis >= missing ? v.stride(axis - missing) : 0;
  }
  return w;
}

void prepareGather(const prim::Copy& desc, const View& diffDst, const View& diffSrc, CpuPlan& plan) {
  auto gather = std::make_shared<Gather>();
  gather->diffDst = padRank(diffDst);
  gather->diffSrc = padRank(diffSrc);
  const int missing = 4 - diffSrc.rank;
  for (int axis = 0; axis < 4; ++axis) {
    const std::int64_t shift = axis >= missing ? desc.shift[static_cast<std::size_t>(axis - missing)] : 0;
    const std::int64_t extent = gather->diffSrc.dim(axis);
    gather->readers.emplace_back(extent, sourceMap(gather->diffDst.dim(axis), extent, shift, desc.edge));
  }
  plan.body = [gather = std::shared_ptr<const Gather>(std::move(gather))](Context& context,
                                                                          const prim::Invocation& inv) -> base::Status {
    const View& d = gather->diffSrc;
    const std::int64_t rows = d.dim(0) * d.dim(1) * d.dim(2);
    const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / 4 / d.dim(3));
    forRanges(context.pool, rows, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> sums, values;
      for (std::int64_t i = begin; i < end; ++i)
        gather->row(inv.args[0].data, inv.args[1].data, i / (d.dim(1) * d.dim(2)), i / d.dim(2) % d.dim(1),
                    i % d.dim(2), sums, values);
    });
    return {};
  };
}

base::Status prepareCopy(const prim::Copy& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  std::array<std::int64_t, 4> shift{};
  for (std::size_t a = 0; a < 4; ++a) shift[a] = desc.shift[a];
  if (desc.direction == prim::Direction::Forward) {
    const float outside = desc.edge == Edge::Constant ? desc.fill : 0.f;
    setBody(forwardBoxes(views[0], views[1], shift, desc.edge, outside, desc.accumulate), plan);
    return {};
  }
  bool plain = desc.edge == Edge::Zero || desc.edge == Edge::Constant;
  for (int axis = 0; !plain && axis < views[0].rank; ++axis)
    if (views[0].dim(axis) != views[1].dim(axis) || (axis < 4 && shift[static_cast<std::size_t>(axis)] != 0))
      break;
    else
      plain = axis + 1 == views[0].rank;
  if (!plain) {
    prepareGather(desc, views[0], views[1], plan);
    return {};
  }
  // Every element was read once at most: the adjoint is the copy the other way, with zeros where nobody read.
  for (std::int64_t& s : shift) s = -s;
  setBody(forwardBoxes(views[0], views[1], shift, Edge::Zero, 0.f, false), plan);
  return {};
}

constexpr Candidate<prim::Copy> kCandidates[] = {{"cpu:copy:boxes", prepareCopy}};

}  // namespace

std::span<const Candidate<prim::Copy>> copyCandidates() { return kCandidates; }

}  // namespace kovar::cpu
