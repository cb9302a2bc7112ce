// What planning says about an operation that a device lacks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/null/null.hpp"
#include "runtime/device_state.hpp"
#include "runtime/list_plan.hpp"

namespace kovar::rt {
namespace {

/// The null device, without one family.
class Lacking final : public prim::Backend {
 public:
  const prim::Caps& caps() const override { return inner_->caps(); }
  base::Result<prim::MemoryRef> allocate(std::size_t bytes, bool zeroed) override {
    return inner_->allocate(bytes, zeroed);
  }
  base::Status copyIn(prim::Memory& dst, std::size_t offset, const void* src, std::size_t bytes) override {
    return inner_->copyIn(dst, offset, src, bytes);
  }
  base::Status copyOut(void* dst, const prim::Memory& src, std::size_t offset, std::size_t bytes) override {
    return inner_->copyOut(dst, src, offset, bytes);
  }
  base::Result<prim::PlanRef> prepare(const prim::Prim& prim, std::span<const prim::View> args,
                                      const prim::PrepareOptions& options) override {
    if (std::holds_alternative<prim::LocalNorm>(prim)) return base::Failure{"toy: localNorm is not implemented"};
    return inner_->prepare(prim, args, options);
  }
  std::vector<std::string> candidates(const prim::Prim& prim) const override { return inner_->candidates(prim); }
  base::Result<prim::StreamRef> makeStream() override { return inner_->makeStream(); }
  base::Status enqueue(prim::Stream& stream, const prim::Plan& plan, const prim::Invocation& invocation) override {
    return inner_->enqueue(stream, plan, invocation);
  }
  base::Status synchronize(prim::Stream& stream) override { return inner_->synchronize(stream); }

 private:
  std::unique_ptr<prim::Backend> inner_ = null_device::makeNullBackend();
};

TEST(Planning, AnOperationThatTheDeviceLacksIsNamedWithTheDeviceAndAWayOut) {
  DeviceState device("toy", std::make_unique<Lacking>());
  const prim::View image = prim::View::image(prim::DType::F32, 1, 4, 4, 4, 4);
  prim::OpList list;
  list.storages.resize(2);
  for (prim::StorageInfo& s : list.storages) s.bytes = 256;
  list.args = {{0, prim::Access::Read, image}, {1, prim::Access::Write, image}};
  prim::Op op;
  op.prim = prim::LocalNorm{};
  op.argCount = 2;
  list.ops = {op};
  const auto plan = planList(device, list);
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(plan.failure().text, testing::StartsWith("operation #0 (localNorm "));
  EXPECT_THAT(
      plan.failure().text,
      testing::EndsWith(") cannot run on device toy: toy: localNorm is not implemented; use another device (the "
                        "cpu runs every operation)"));
}

}  // namespace
}  // namespace kovar::rt
