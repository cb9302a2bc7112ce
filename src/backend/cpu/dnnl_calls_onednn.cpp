#if KOVAR_HAS_ONEDNN
#include <omp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/dnnl_calls.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace {

/// Elements below which a reorder is not worth cutting.
constexpr std::int64_t kReorderPart = 32768;

const dnnl::stream& threadStream() {
  thread_local const dnnl::stream stream(dnnlEngine());
  return stream;
}

/// Owns a memory object for the length of a call.
class CallMemory {
 public:
  CallMemory() = default;
  ~CallMemory() { dnnl_memory_destroy(handle_); }
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;
  bool set(const_dnnl_memory_desc_t desc, void* data) {
    return dnnl_memory_create(&handle_, desc, dnnlEngine().get(), data) == dnnl_success;
  }
  dnnl_memory_t get() const { return handle_; }

 private:
  dnnl_memory_t handle_ = nullptr;
};

}  // namespace

const dnnl::engine& dnnlEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

OneDnnlThread::OneDnnlThread() : before_(omp_get_max_threads()) {
  if (before_ != 1) omp_set_num_threads(1);
}

OneDnnlThread::~OneDnnlThread() {
  if (before_ != 1) omp_set_num_threads(before_);
}

dnnl::primitive_attr userScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

bool execute(const dnnl::primitive& primitive, std::initializer_list<DnnlArg> args) noexcept {
  constexpr std::size_t kMost = 8;
  if (args.size() > kMost) return false;
  const OneDnnlThread one;
  try {
    std::array<CallMemory, kMost> memories;
    std::array<dnnl_exec_arg_t, kMost> list;
    std::size_t count = 0;
    for (const DnnlArg& arg : args) {
      if (arg.desc->get_size() == 0) continue;
      if (!memories[count].set(arg.desc->get(), arg.data)) return false;
      list[count] = {arg.name, memories[count].get()};
      ++count;
    }
    return dnnl_primitive_execute(primitive.get(), threadStream().get(), static_cast<int>(count), list.data()) ==
           dnnl_success;
  } catch (const std::exception&) {
    return false;
  }
}

bool isReference(const char* implementation) { return std::strstr(implementation, "ref") != nullptr; }

std::uint64_t hashOf(const dnnl::memory::desc& desc) {
  auto h = static_cast<std::uint64_t>(desc.get_data_type());
  for (const auto& list :
       {desc.get_dims(), desc.get_strides(), desc.get_padded_dims(), desc.get_inner_blks(), desc.get_inner_idxs()}) {
    h = prim::combine(h, list.size());
    for (const auto v : list) h = prim::combine(h, static_cast<std::uint64_t>(v));
  }
  return prim::combine(h, static_cast<std::uint64_t>(desc.get_submemory_offset()));
}

SplitReorder::SplitReorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to, bool accumulate) {
  const OneDnnlThread one;
  dnnl::primitive_attr attr = userScratchpad();
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.f);
    attr.set_post_ops(sum);
  }
  const auto make = [&](const dnnl::memory::desc& a, const dnnl::memory::desc& b, std::int64_t fromOffset,
                        std::int64_t toOffset) {
    const dnnl::reorder::primitive_desc pd(dnnlEngine(), a, dnnlEngine(), b, attr);
    parts_.push_back({dnnl::reorder(pd), a, b, pd.scratchpad_desc(), fromOffset, toOffset});
  };
  const auto dims = from.get_dims();
  std::int64_t elements = 1;
  for (const auto d : dims) elements *= d;
  // Formats block the output channels by up to 64: cut there.
  const std::int64_t perRow = elements / dims[0], step = std::max<std::int64_t>(64, kReorderPart / perRow / 64 * 64);
  if (step < dims[0]) {
    try {
      const dnnl::memory::dims origin(dims.size(), 0);
      for (std::int64_t first = 0; first < dims[0]; first += step) {
        auto part = dims, offsets = origin;
        part[0] = std::min(step, dims[0] - first);
        offsets[0] = first;
        // oneDNN 3.2 refuses to run on descriptions that start inside a memory: we move the pointers instead.
        make(from.submemory_desc(part, origin), to.submemory_desc(part, origin),
             from.submemory_desc(part, offsets).get_submemory_offset(),
             to.submemory_desc(part, offsets).get_submemory_offset());
      }
      return;
    } catch (const dnnl::error&) {
      parts_.clear();  // the format cannot be cut here: one part then
    }
  }
  make(from, to, 0, 0);
}

bool SplitReorder::run(std::size_t index, const float* from, float* to) const noexcept {
  const Part& part = parts_[index];
  std::byte* scratch = threadScratch(part.scratch.get_size());
  if (scratch == nullptr) return false;
  return execute(part.primitive, {{DNNL_ARG_FROM, &part.from, const_cast<float*>(from) + part.fromOffset},
                                  {DNNL_ARG_TO, &part.to, to + part.toOffset},
                                  {DNNL_ARG_SCRATCHPAD, &part.scratch, scratch}});
}

void PackedWeights::add(const dnnl::memory::desc& plain, std::int64_t offset, const dnnl::memory::desc& packed) {
  Block block;
  block.plainOffset = offset;
  block.packedOffset = bytes_;
  block.reorder = SplitReorder(plain, packed, false);
  for (std::size_t i = 0; i < block.reorder.parts(); ++i) parts_.emplace_back(blocks_.size(), i);
  bytes_ += roundUp(packed.get_size(), 64);
  key_ = prim::combine(prim::combine(key_, hashOf(plain)),
                       prim::combine(hashOf(packed), static_cast<std::uint64_t>(offset)));
  blocks_.push_back(std::move(block));
}

void PackedWeights::finish(const prim::View& weights) {
  viewOffset_ = weights.offset;
  key_ = prim::combine(key_, static_cast<std::uint64_t>(viewOffset_));
  buffers_ = std::make_shared<BufferPool>(bytes_);
}

base::Result<std::shared_ptr<const std::byte>> PackedWeights::get(Context& context, const prim::Bound& source) const {
  if (source.derived != nullptr)
    if (auto form = source.derived->find(key_)) return std::static_pointer_cast<const std::byte>(form);
  KOVAR_TRY_ASSIGN(const std::shared_ptr<std::byte> packed, buffers_->take());
  const float* plain = reinterpret_cast<const float*>(source.data) + viewOffset_;
  FailureFlag failure;
  context.pool.run(parts_.size(), [&](std::size_t i) {
    const Block& block = blocks_[parts_[i].first];
    if (!block.reorder.run(parts_[i].second, plain + block.plainOffset,
                           reinterpret_cast<float*>(packed.get() + block.packedOffset)))
      failure.raise(FailureFlag::kVendor);
  });
  KOVAR_TRY(failure.status("packing of weights"));
  if (source.derived != nullptr) source.derived->put(key_, packed);
  return std::shared_ptr<const std::byte>(packed);
}

}  // namespace kovar::cpu
#endif  // KOVAR_HAS_ONEDNN
