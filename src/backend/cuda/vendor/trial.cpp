#include "backend/cuda/vendor/trial.hpp"

#include <algorithm>

#include "backend/cuda/nests.hpp"

namespace kovar::cuda {

using base::Result;
using base::Status;

Trial::Trial(Device& device, std::span<const prim::View> views) : device_(device), views_(views.begin(), views.end()) {}

Trial::~Trial() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  for (cudaEvent_t e : events_)
    if (e != nullptr) cudaEventDestroy(e);
  cudaStreamDestroy(stream_);
}

Status Trial::prepare() {
  if (data_.size() == views_.size()) return {};
  constexpr const char* kWhat = "measuring engines";
  KOVAR_TRY(check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), kWhat));
  for (cudaEvent_t& e : events_) KOVAR_TRY(check(cudaEventCreate(&e), kWhat));
  for (const prim::View& v : views_) {
    const auto bytes = static_cast<std::size_t>(v.end() * bytesOf(v));
    KOVAR_TRY_ASSIGN(const prim::MemoryRef memory, device_.allocateFor(bytes));
    memory_.push_back(memory);
    // Small numbers in either type; zeros can be quicker than data.
    KOVAR_TRY(check(cudaMemsetAsync(memory->data(), 0x2c, bytes, stream_), kWhat));
  }
  for (std::size_t i = 0; i < views_.size(); ++i)
    data_.push_back(memory_[i]->data() + views_[i].offset * bytesOf(views_[i]));
  return {};
}

Result<float> Trial::seconds(std::size_t workspaceBytes, const Start& start) {
  constexpr const char* kWhat = "measuring engines";
  constexpr int kRounds = 3, kRuns = 5;
  KOVAR_TRY(prepare());
  KOVAR_TRY_ASSIGN(const prim::MemoryRef workspace, device_.allocateFor(workspaceBytes + 1));
  const auto run = [&] { return start(stream_, data_, workspace->data()); };
  KOVAR_TRY(run());  // what loads at the first run
  float best = 0.f;
  for (int round = 0; round < kRounds; ++round) {
    KOVAR_TRY(check(cudaEventRecord(events_[0], stream_), kWhat));
    for (int i = 0; i < kRuns; ++i) KOVAR_TRY(run());
    float ms = 0.f;
    KOVAR_TRY(check(cudaEventRecord(events_[1], stream_), kWhat));
    KOVAR_TRY(check(cudaEventSynchronize(events_[1]), kWhat));
    KOVAR_TRY(check(cudaEventElapsedTime(&ms, events_[0], events_[1]), kWhat));
    best = round == 0 ? ms : std::min(best, ms);
  }
  return best / (1000.f * kRuns);
}

}  // namespace kovar::cuda
