#pragma once
// One primitive with its arguments, run by every implementation of a device that says yes, and checked for what holds
// of all: nothing outside the written views changes, two runs and two thread counts give the same bits.

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/backend.hpp"
#include "oracle/formats.hpp"
#include "prim/backend.hpp"
#include "support/random.hpp"

namespace kovar::test {

inline oracle::Format formatOf(prim::DType t) {
  switch (t) {
    case prim::DType::F16:
      return oracle::Format::Float16;
    case prim::DType::Unorm8:
      return oracle::Format::Unorm8;
    case prim::DType::Unorm16:
      return oracle::Format::Unorm16;
    default:
      return oracle::Format::Float32;
  }
}

/// Values a random argument of this type may hold.
inline oracle::Domain domainOf(prim::DType t) {
  const bool unorm = t == prim::DType::Unorm8 || t == prim::DType::Unorm16;
  return {unorm ? 0.0 : -1.0, 1.0, false};
}

inline void writeElement(prim::DType t, std::byte* at, double v) {
  const auto put = [&](auto bits) { std::memcpy(at, &bits, sizeof(bits)); };
  switch (t) {
    case prim::DType::F32:
      return put(static_cast<float>(v));
    case prim::DType::F16:
      return put(oracle::toHalfBits(v));
    case prim::DType::Unorm8:
      return put(oracle::toUnorm8(v));
    case prim::DType::Unorm16:
      return put(oracle::toUnorm16(v));
    case prim::DType::U8:
      return put(static_cast<std::uint8_t>(v));
    case prim::DType::U32:
      return put(static_cast<std::uint32_t>(v));
  }
}

inline double readElement(prim::DType t, const std::byte* at) {
  const auto get = [&](auto bits) {
    std::memcpy(&bits, at, sizeof(bits));
    return bits;
  };
  switch (t) {
    case prim::DType::F32:
      return static_cast<double>(get(float{}));
    case prim::DType::F16:
      return oracle::fromHalfBits(get(std::uint16_t{}));
    case prim::DType::Unorm8:
      return oracle::fromUnorm8(get(std::uint8_t{}));
    case prim::DType::Unorm16:
      return oracle::fromUnorm16(get(std::uint16_t{}));
    case prim::DType::U8:
      return get(std::uint8_t{});
    case prim::DType::U32:
      return get(std::uint32_t{});
  }
  return 0;
}

/// Calls fn(element index in storage) for the elements of a view in row-major order.
inline void forElements(const prim::View& v, const std::function<void(std::int64_t)>& fn) {
  std::vector<std::int64_t> index(v.rank, 0);
  for (std::int64_t i = 0, n = v.elements(); i < n; ++i) {
    std::int64_t at = v.offset;
    for (int a = 0; a < v.rank; ++a) at += index[static_cast<std::size_t>(a)] * v.stride(a);
    fn(at);
    for (int a = v.rank - 1; a >= 0 && ++index[static_cast<std::size_t>(a)] == v.dim(a); --a)
      index[static_cast<std::size_t>(a)] = 0;
  }
}

struct Argument {
  prim::View view;
  std::vector<double> values;  ///< what the view's elements hold before the run, in row-major order
  bool written = false;
};

/// Random layout of a rank-4 image: gaps between pixels, rows and images, an offset, or none of these.
inline prim::View randomImageView(Random& r, prim::DType t, std::int64_t n, std::int64_t h, std::int64_t w,
                                  std::int64_t c) {
  const std::int64_t pixel = r.chance(0.3) ? c : (c + 3) / 4 * 4 + (r.chance(0.2) ? 4 : 0);
  prim::View v = prim::View::image(t, n, h, w, c, pixel, r.chance(0.3) ? 4 * r.integer(1, 5) : 0);
  if (r.chance(0.2)) {  // a part of a larger image
    v.strides[1] += pixel * r.integer(1, 3);
    v.strides[0] = v.strides[1] * (h + r.integer(0, 2));
  }
  return v;
}

inline prim::View randomMatrixView(Random& r, prim::DType t, std::int64_t rows, std::int64_t columns) {
  prim::View v = prim::View::contiguous(t, {rows, columns}, r.chance(0.3) ? 4 * r.integer(1, 5) : 0);
  if (r.chance(0.3)) v.strides[0] += r.integer(1, 9);
  return v;
}

/// While it lives, vector code runs with one of the processor's instruction sets: 0 the best, 1 the next one ...
class InstructionSet {
 public:
  explicit InstructionSet(int index) {
    const auto supported = hwy::SupportedTargets();
    std::int64_t use = supported;
    for (const std::int64_t target : {std::int64_t{HWY_AVX2}, std::int64_t{HWY_SSE4}, std::int64_t{HWY_AVX3}})
      if (index-- > 0) use = supported & ~(target - 1);
    hwy::SetSupportedTargetsForTest(use);
    hwy::GetChosenTarget().Update(use);
  }
  ~InstructionSet() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  InstructionSet(const InstructionSet&) = delete;
  InstructionSet& operator=(const InstructionSet&) = delete;
};

class DeviceCase {
 public:
  DeviceCase(prim::Prim prim, std::vector<Argument> arguments)
      : prim_(std::move(prim)), arguments_(std::move(arguments)) {
    for (const Argument& a : arguments_) views_.push_back(a.view);
  }

  prim::Scalars scalars;  ///< of every run

  std::string text() const {
    std::string s = prim::textOf(prim_) + " on";
    for (const prim::View& v : views_) s += " " + v.text();
    return s;
  }

  std::vector<std::string> candidates(const prim::Backend& backend) const { return backend.candidates(prim_); }

  /// Prepares and runs twice with the implementation `name` on each device (they differ in threads only). `check` gets
  /// the values of the arguments after the first run. Returns false when the implementation refuses the case.
  bool run(const std::vector<prim::Backend*>& devices, const std::string& name,
           const std::function<void(const std::vector<std::vector<float>>&)>& check) const {
    std::vector<std::vector<std::byte>> first;
    for (prim::Backend* device : devices) {
      auto plan = device->prepare(prim_, views_, {false, name});
      if (!plan.ok()) {
        EXPECT_EQ(device, devices.front()) << name << " depends on the number of threads: " << plan.failure().text;
        EXPECT_NE(plan.failure().text.find(name), std::string::npos) << plan.failure().text;
        return false;
      }
      EXPECT_EQ((*plan)->implementation, name);
      // The second run finds the derived forms of the first.
      std::vector<prim::Derived> derived(arguments_.size());
      for (int round = 0; round < 2; ++round) {
        auto memory = execute(*device, **plan, derived, round);
        if (testing::Test::HasFatalFailure()) return true;
        if (first.empty()) {
          first = memory;
          std::vector<std::vector<float>> values;
          for (std::size_t i = 0; i < arguments_.size(); ++i) values.push_back(valuesOf(i, memory[i]));
          expectUntouched(memory, name);
          check(values);
        } else {
          for (std::size_t i = 0; i < memory.size(); ++i)
            EXPECT_TRUE(memory[i] == first[i]) << name << ": argument " << i << " has other bits in run " << round
                                               << " with " << device->threadCount() << " threads";
        }
      }
    }
    return true;
  }

 private:
  static constexpr unsigned char kSentinel = 0xff;  // not a number, in every floating-point type

  std::vector<std::byte> initial(std::size_t i) const {
    const prim::View& v = arguments_[i].view;
    const std::size_t size = prim::sizeOf(v.dtype);
    std::vector<std::byte> bytes((static_cast<std::size_t>(v.end()) + 16) * size, std::byte{kSentinel});
    std::size_t k = 0;
    forElements(v, [&](std::int64_t at) {
      writeElement(v.dtype, bytes.data() + static_cast<std::size_t>(at) * size, arguments_[i].values.at(k++));
    });
    return bytes;
  }

  std::vector<float> valuesOf(std::size_t i, const std::vector<std::byte>& bytes) const {
    std::vector<float> values;
    const prim::View& v = arguments_[i].view;
    forElements(v, [&](std::int64_t at) {
      values.push_back(static_cast<float>(
          readElement(v.dtype, bytes.data() + static_cast<std::size_t>(at) * prim::sizeOf(v.dtype))));
    });
    return values;
  }

  void expectUntouched(const std::vector<std::vector<std::byte>>& memory, const std::string& name) const {
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      std::vector<std::byte> before = initial(i), after = memory[i];
      const std::size_t size = prim::sizeOf(arguments_[i].view.dtype);
      if (arguments_[i].written)
        forElements(arguments_[i].view, [&](std::int64_t at) {
          std::memcpy(before.data() + static_cast<std::size_t>(at) * size,
                      after.data() + static_cast<std::size_t>(at) * size, size);
        });
      const auto differs = std::mismatch(before.begin(), before.end(), after.begin());
      EXPECT_TRUE(differs.first == before.end()) << name << " changed memory outside what it may write: argument " << i
                                                 << ", byte " << differs.first - before.begin();
    }
  }

  std::vector<std::vector<std::byte>> execute(prim::Backend& device, const prim::Plan& plan,
                                              std::vector<prim::Derived>& derived, int round) const {
    std::vector<prim::MemoryRef> blocks;
    std::vector<prim::Bound> bound;
    std::vector<std::vector<std::byte>> result;
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      const std::vector<std::byte> bytes = initial(i);
      auto block = device.allocate(bytes.size(), false);
      EXPECT_TRUE(block.ok());
      EXPECT_TRUE(device.copyIn(**block, 0, bytes.data(), bytes.size()).ok());
      blocks.push_back(*block);
      const bool keeps = !arguments_[i].written && i % 2 == 1;
      bound.push_back({(*block)->data(), keeps ? &derived[i] : nullptr});
    }
    auto scratch = device.allocate(plan.scratchBytes, false);
    EXPECT_TRUE(scratch.ok());
    // Nothing may be taken from what scratch happens to hold.
    std::vector<std::byte> junk(plan.scratchBytes, static_cast<std::byte>(round == 0 ? 0xff : 0x3f));
    EXPECT_TRUE(device.copyIn(**scratch, 0, junk.data(), junk.size()).ok());
    prim::Invocation inv;
    inv.args = bound;
    inv.scalars = &scalars;
    inv.scratch = (*scratch)->data();
    auto stream = device.makeStream();
    EXPECT_TRUE(stream.ok());
    const auto status = device.enqueue(**stream, plan, inv);
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.failure().text);
    EXPECT_TRUE(device.synchronize(**stream).ok());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      result.emplace_back(blocks[i]->bytes());
      EXPECT_TRUE(device.copyOut(result[i].data(), *blocks[i], 0, result[i].size()).ok());
    }
    return result;
  }

  prim::Prim prim_;
  std::vector<Argument> arguments_;
  std::vector<prim::View> views_;
};

/// A post-op program for tests, and what it does to a value: out = max(0.5 v + 0.25 + other, -0.75), and `kept`
/// receives 0.5 v + 0.25.
inline prim::Program testProgram() {
  using prim::EwOp;
  prim::Program p;
  p.push({EwOp::Affine, 0, 0, 0, 0, 0, 0, {0.5f, 0.25f, 0.f}});
  p.push({EwOp::Store, 0, 0, 0, 0, 1, 0, {}});
  p.push({EwOp::Load, 1, 0, 0, 0, 0, 0, {}});
  p.push({EwOp::Add, 0, 0, 1, 0, 0, 0, {}});
  p.push({EwOp::Const, 1, 0, 0, 0, 0, 0, {-0.75f, 0.f, 0.f}});
  p.push({EwOp::Max, 0, 0, 1, 0, 0, 0, {}});
  return p;
}

}  // namespace kovar::test
