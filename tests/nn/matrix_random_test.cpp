// MatrixRandomPhilox and MatrixRandomMTGP32 against the published generator, computed in double precision: uniform and
// normal numbers, batches, strides, the sequence of encodes, statistics.

#include "kovar/MPS/Core/MatrixRandom.hpp"

#include <cmath>
#include <numbers>

#include "nn_case.hpp"
#include "oracle/dropout.hpp"

namespace kovar::test {
namespace {

using Distribution = MPS::MatrixRandomDistributionDescriptor;

/// Element e of the stream that (seed, encodes before) names: uniform in [0, 1), or a standard normal number.
double numberOf(std::uint64_t seed, std::uint64_t encodes, std::size_t e, bool normal) {
  const auto words = oracle::philox4x32({static_cast<std::uint32_t>(e / 4), 0, static_cast<std::uint32_t>(encodes),
                                         static_cast<std::uint32_t>(encodes >> 32)},
                                        {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  const auto uniform = [&](std::size_t w) { return static_cast<double>(words[w] >> 8) / 16777216.0; };
  if (!normal) return uniform(e % 4);
  // Box and Muller: words 0 and 1 give elements 0 and 1, words 2 and 3 the other two
  const std::size_t first = e % 4 / 2 * 2;
  const double radius = std::sqrt(-2 * std::log(uniform(first) + 1 / 16777216.0));
  const double angle = 2 * std::numbers::pi * uniform(first + 1);
  return radius * (e % 2 ? std::sin(angle) : std::cos(angle));
}

struct Wanted {
  std::uint64_t seed = 0;
  bool normal = false;
  double shift = 0, scale = 1;  ///< minimum and extent, or mean and standard deviation
  double lowest = -1e30, highest = 1e30;
  double at(std::uint64_t encodes, std::size_t e) const {
    return std::clamp(shift + scale * numberOf(seed, encodes, e, normal), lowest, highest);
  }
};

Ref<MPS::MatrixRandom> randomKernel(Random& r, Wanted& w) {
  w.seed = r.bits();
  Ref<Distribution> d;
  switch (r.integer(0, 3)) {
    case 0:
      d = Distribution::defaultDistributionDescriptor();
      break;
    case 1:
      d = Distribution::uniformDistributionDescriptor(-2, 3);
      w.shift = -2, w.scale = 5;
      break;
    case 2:
      d = Distribution::normalDistributionDescriptor(0.5f, 2);
      w.normal = true, w.shift = 0.5, w.scale = 2;
      break;
    default:
      d = Distribution::normalDistributionDescriptor(0.5f, 2, -1, 1.5f);
      w.normal = true, w.shift = 0.5, w.scale = 2, w.lowest = -1, w.highest = 1.5;
  }
  if (r.chance(0.5)) return std::make_shared<MPS::MatrixRandomPhilox>(cpuDevice(), MPS::DataType::Float32, w.seed, d);
  return std::make_shared<MPS::MatrixRandomMTGP32>(cpuDevice(), MPS::DataType::Float32, w.seed, d);
}

const float* floatsOf(const Ref<MTL::Buffer>& buffer) { return static_cast<const float*>(buffer->contents()); }

TEST(MatrixRandom, MatricesMatchTheGenerator) {
  forCases(120, [](Case& c) {
    Random& r = c.random;
    Wanted wanted;
    const auto kernel = randomKernel(r, wanted);
    const std::size_t rows = r.size(1, 7), columns = r.size(1, 40), matrices = r.size(1, 3), offset = 4 * r.size(0, 5);
    const std::size_t rowBytes = 4 * (columns + r.size(0, 4)), matrixBytes = rowBytes * (rows + r.size(0, 2));
    c.text = std::to_string(matrices) + " of " + std::to_string(rows) + "x" + std::to_string(columns);
    const std::vector<float> before((offset + matrices * matrixBytes) / 4, 77.f);
    std::uint64_t filled = 0;
    for (std::size_t encode = 0; encode < 2; ++encode) {
      const auto buffer = cpuDevice()->newBuffer(before.data(), before.size() * 4);
      const auto m =
          std::make_shared<MPS::Matrix>(buffer, offset,
                                        MPS::MatrixDescriptor::matrixDescriptor(rows, columns, matrices, rowBytes,
                                                                                matrixBytes, MPS::DataType::Float32));
      const std::size_t start = r.size(0, matrices - 1), count = r.size(1, matrices);
      kernel->setBatchStart(start);
      if (r.chance(0.7)) kernel->setBatchSize(count);
      const std::size_t end = std::min(matrices, start + std::min(kernel->batchSize(), matrices));
      runOnCpu([&](const auto& commands) { kernel->encode(commands, m); });
      for (std::size_t i = 0; i < before.size(); ++i) {
        const std::size_t at = i * 4;
        const std::size_t k = at < offset ? matrices : (at - offset) / matrixBytes;
        const std::size_t row = at < offset ? 0 : (at - offset) % matrixBytes / rowBytes;
        const std::size_t column = at < offset ? 0 : (at - offset) % matrixBytes % rowBytes / 4;
        const double expected = k >= start && k < end && row < rows && column < columns
                                    ? wanted.at(filled + k - start, row * columns + column)
                                    : 77.0;
        ASSERT_NEAR(static_cast<double>(floatsOf(buffer)[i]), expected, 2e-6 * (1 + std::fabs(expected))) << i;
      }
      filled += end - start;
    }
  });
}

TEST(MatrixRandom, VectorsMatchTheGenerator) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    Wanted wanted;
    const auto kernel = randomKernel(r, wanted);
    const std::size_t length = r.size(1, 50), vectors = r.size(1, 3), bytes = 4 * (length + r.size(0, 3));
    const auto v = std::make_shared<MPS::Vector>(
        cpuDevice(), MPS::VectorDescriptor::vectorDescriptor(length, vectors, bytes, MPS::DataType::Float32));
    runOnCpu([&](const auto& commands) { kernel->encode(commands, v); });
    for (std::size_t k = 0; k < vectors; ++k)
      for (std::size_t i = 0; i < length; ++i) {
        const double expected = wanted.at(0, k * length + i);
        ASSERT_NEAR(static_cast<double>(floatsOf(v->data())[k * bytes / 4 + i]), expected,
                    2e-6 * (1 + std::fabs(expected)));
      }
  });
}

std::vector<float> fill(const Ref<MPS::MatrixRandom>& kernel, std::size_t length = 100) {
  const auto v = std::make_shared<MPS::Vector>(cpuDevice(),
                                               MPS::VectorDescriptor::vectorDescriptor(length, MPS::DataType::Float32));
  runOnCpu([&](const auto& commands) { kernel->encode(commands, v); });
  return {floatsOf(v->data()), floatsOf(v->data()) + length};
}

TEST(MatrixRandom, NumbersFollowSeedAndNumberOfEncodes) {
  const auto make = [](std::size_t seed) {
    return std::make_shared<MPS::MatrixRandomPhilox>(cpuDevice(), MPS::DataType::Float32, seed);
  };
  const auto a = make(3), b = make(3);
  const std::vector<float> first = fill(a), second = fill(a);
  EXPECT_NE(first, second);
  EXPECT_EQ(fill(b), first);
  EXPECT_NE(fill(make(4)), first);
  const auto copy = std::dynamic_pointer_cast<MPS::MatrixRandomPhilox>(b->copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(fill(copy), second) << "a copy goes on where its original stands";
  // An encode that is refused does not count.
  const auto half =
      std::make_shared<MPS::Vector>(cpuDevice(), MPS::VectorDescriptor::vectorDescriptor(4, MPS::DataType::Float16));
  expectError([&] { b->encode(cpuQueue()->commandBuffer(), half); }, {"MatrixRandomPhilox.encode", "data type"});
  const auto done = cpuQueue()->commandBuffer();
  done->commit();
  const auto good =
      std::make_shared<MPS::Vector>(cpuDevice(), MPS::VectorDescriptor::vectorDescriptor(4, MPS::DataType::Float32));
  expectError([&] { b->encode(done, good); }, {"encode after commit()"});
  EXPECT_EQ(fill(b), second);
}

TEST(MatrixRandom, HasTheAskedStatistics) {
  const std::size_t n = 100000;
  const auto moments = [&](const Ref<Distribution>& d) {
    double mean = 0, square = 0;
    const std::vector<float> v =
        fill(std::make_shared<MPS::MatrixRandomMTGP32>(cpuDevice(), MPS::DataType::Float32, 42, d), n);
    for (float x : v) mean += static_cast<double>(x) / static_cast<double>(n);
    for (float x : v) square += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean);
    return std::pair(mean, std::sqrt(square / static_cast<double>(n)));
  };
  const auto uniform = moments(Distribution::uniformDistributionDescriptor(-0.2f, 0.2f));
  EXPECT_NEAR(uniform.first, 0, 5 * 0.4 / std::sqrt(12.0 * static_cast<double>(n)));
  EXPECT_NEAR(uniform.second, 0.4 / std::sqrt(12.0), 0.001);
  const auto normal = moments(Distribution::normalDistributionDescriptor(3, 0.5f));
  EXPECT_NEAR(normal.first, 3, 5 * 0.5 / std::sqrt(static_cast<double>(n)));
  EXPECT_NEAR(normal.second, 0.5, 0.006);
}

TEST(MatrixRandom, DescriptorsAndDefaults) {
  const auto d = Distribution::defaultDistributionDescriptor();
  EXPECT_EQ(d->distributionType(), MPS::MatrixRandomDistribution::Default);
  EXPECT_EQ(d->minimum(), 0.f);
  EXPECT_EQ(d->maximum(), 1.f);
  EXPECT_EQ(d->mean(), 0.f);
  EXPECT_EQ(d->standardDeviation(), 1.f);
  d->setDistributionType(MPS::MatrixRandomDistribution::Normal);
  d->setMinimum(1);
  d->setMaximum(2);
  d->setMean(3);
  d->setStandardDeviation(4);
  EXPECT_EQ(d->minimum() + d->maximum() + d->mean() + d->standardDeviation(), 10.f);
  EXPECT_EQ(static_cast<int>(MPS::MatrixRandomDistribution::Default), 1);
  const auto clamped = Distribution::normalDistributionDescriptor(1, 2, -1, 3);
  EXPECT_EQ(clamped->minimum(), -1.f);
  EXPECT_EQ(clamped->maximum(), 3.f);
  // A kernel keeps what its descriptor held.
  const auto later = Distribution::uniformDistributionDescriptor(1, 2);
  const auto kept = std::make_shared<MPS::MatrixRandomPhilox>(cpuDevice(), MPS::DataType::Float32, 1, later);
  later->setMinimum(-100);
  later->setDistributionType(MPS::MatrixRandomDistribution::Normal);
  EXPECT_EQ(kept->distributionType(), MPS::MatrixRandomDistribution::Uniform);
  for (float v : fill(kept)) EXPECT_TRUE(v >= 1 && v < 2);
  MPS::MatrixRandomMTGP32 kernel(cpuDevice());
  EXPECT_EQ(kernel.destinationDataType(), MPS::DataType::Float32);
  EXPECT_EQ(kernel.distributionType(), MPS::MatrixRandomDistribution::Default);
  EXPECT_EQ(kernel.batchStart(), 0u);
  EXPECT_EQ(kernel.batchSize(), std::numeric_limits<std::size_t>::max());
  kernel.synchronizeState(cpuQueue()->commandBuffer());
}

TEST(MatrixRandom, ErrorsTellWhatIsWrong) {
  const auto f32 = MPS::DataType::Float32;
  expectError([] { Distribution::uniformDistributionDescriptor(2, 1); }, {"minimum 2.0", "maximum 1.0"});
  expectError([] { Distribution::uniformDistributionDescriptor(std::nanf(""), 1); },
              {"MatrixRandomDistributionDescriptor"});
  expectError([&] { MPS::MatrixRandomPhilox(cpuDevice(), f32, 0, nullptr); }, {"distributionDescriptor is null"});
  expectError([] { MPS::MatrixRandomPhilox(cpuDevice(), MPS::DataType::UInt32, 0); },
              {"destinationDataType must be Float32"});
  MPS::MatrixRandomPhilox kernel(cpuDevice());
  const auto m = std::make_shared<MPS::Matrix>(cpuDevice(), MPS::MatrixDescriptor::matrixDescriptor(2, 2, 8, f32));
  kernel.setLabel("noise");
  const auto commands = cpuQueue()->commandBuffer();
  expectError([&] { kernel.encode(commands, Ref<MPS::Matrix>()); },
              {"MatrixRandomPhilox \"noise\".encode: destinationMatrix is null"});
  expectError([&] { kernel.encode(commands, Ref<MPS::Vector>()); }, {"destinationVector is null"});
  expectError([&] { kernel.encode(nullptr, m); }, {"commandBuffer is null"});
  kernel.setBatchStart(1);
  expectError([&] { kernel.encode(commands, m); }, {"batchStart is 1 of 1 matrices"});
  const auto shifted = std::make_shared<MPS::Matrix>(cpuDevice()->newBuffer(64), 2,
                                                     MPS::MatrixDescriptor::matrixDescriptor(2, 2, 8, f32));
  kernel.setBatchStart(0);
  expectError([&] { kernel.encode(commands, shifted); }, {"the offset 2 is no multiple of the element's 4 bytes"});
}

}  // namespace
}  // namespace kovar::test
