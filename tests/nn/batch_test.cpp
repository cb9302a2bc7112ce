// Batch: a list with cheap copies, and series whose objects are made when they are asked for.

#include "kovar/MPS/Core/Batch.hpp"

#include <thread>

#include "kovar/MPS/NN/CNNDropout.hpp"
#include "nn/core/access.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

using Numbers = MPS::Batch<int>;

Ref<int> number(int v) { return std::make_shared<int>(v); }

/// 0, 10, 20 ...; counts how many were made.
Numbers tens(std::size_t count, int* made) {
  return Numbers::series(number(0), count, [made](const Ref<int>& first, std::size_t i) {
    ++*made;
    return number(*first + 10 * static_cast<int>(i));
  });
}

TEST(Batch, CopiesAreApart) {
  Numbers a{number(1), number(2)};
  Numbers b = a;
  b.push_back(number(3));
  EXPECT_EQ(a.size(), 2u);
  EXPECT_EQ(b.size(), 3u);
  Numbers c = a;
  c[0] = number(7);
  EXPECT_EQ(*a[0], 1);
  EXPECT_EQ(*c[0], 7);
  c.resize(1);
  EXPECT_EQ(a.size(), 2u);
  EXPECT_EQ(c.size(), 1u);
  c.clear();
  EXPECT_TRUE(c.empty());
}

// A reference taken before a copy was made must not reach into the copy.
TEST(Batch, ReferencesDoNotReachIntoCopies) {
  Numbers a{number(1), number(2)};
  Ref<int>& item = a[1];
  const Numbers b = a;
  item = number(9);
  EXPECT_EQ(*b[1], 2);
  EXPECT_EQ(*std::as_const(a)[1], 9);
}

// Nothing is copied, so what was handed out before still belongs to the batch.
TEST(Batch, AssignedToItselfStaysTheSame) {
  Numbers a{number(1), number(2)};
  Ref<int>& item = a[1];
  const Numbers& same = a;
  a = same;
  item = number(9);
  EXPECT_EQ(a.size(), 2u);
  EXPECT_EQ(*std::as_const(a)[1], 9);
}

TEST(Batch, SeriesAreMadeOnceAndWhenAskedFor) {
  int made = 0;
  const Numbers a = tens(4, &made);
  const Numbers b = a;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
  EXPECT_EQ(a.size(), 4u);
  EXPECT_TRUE(MPS::BatchView<int>(a).isSeries());
  EXPECT_EQ(MPS::BatchView<int>(a).looks().size(), 1u);
  EXPECT_EQ(*MPS::BatchView<int>(a).front(), 0);
  EXPECT_EQ(made, 0);
  EXPECT_EQ(*a[3], 30);
  EXPECT_EQ(made, 3);
  EXPECT_EQ(b[3], a[3]) << "copies share what was made";
  EXPECT_EQ(made, 3);
  EXPECT_FALSE(MPS::BatchView<int>(b).isSeries());
  EXPECT_EQ(MPS::BatchView<int>(b).looks().size(), 4u);
}

TEST(Batch, ChangedSeriesHaveAllTheirItems) {
  int made = 0;
  Numbers a = tens(3, &made);
  const Numbers before = a;
  a.push_back(number(5));
  ASSERT_EQ(a.size(), 4u);
  EXPECT_EQ(*std::as_const(a)[2], 20);
  EXPECT_EQ(*std::as_const(a)[3], 5);
  EXPECT_EQ(before.size(), 3u);
  EXPECT_EQ(before[1], std::as_const(a)[1]);
}

TEST(Batch, OneObjectThroughout) {
  const Ref<int> one = number(4);
  const Numbers a = Numbers::series(one, 3, nullptr);
  EXPECT_TRUE(MPS::BatchView<int>(a).isRepeated());
  EXPECT_EQ(a[0], one);
  EXPECT_EQ(a[2], one);
}

TEST(Batch, ThreadsSeeTheSameObjects) {
  int made = 0;
  const Numbers a = tens(100, &made);
  Ref<int> seen[4];
  std::vector<std::thread> threads;
  for (Ref<int>& mine : seen) threads.emplace_back([&a, &mine] { mine = a[57]; });
  for (std::thread& t : threads) t.join();
  for (const Ref<int>& mine : seen) EXPECT_EQ(mine, a[57]);
  EXPECT_EQ(made, 99);
}

// Images of a kernel's result that nobody asked for: read counts, neighbours and states are those of images of their
// own.
TEST(Batch, ResultsOfKernelsAreImagesOfTheirOwnWhenAskedFor) {
  constexpr std::size_t kCount = 5;
  const auto source = imageOf(Tensor(kCount, 3, 4, 5, 1.0));
  const auto dropout = std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, 3, MTL::Size{1, 1, 1});
  runOnCpu([&](const auto& buffer) {
    MPS::StateBatch states;
    const MPS::ImageBatch result = dropout->encodeBatch(buffer, source->batchRepresentation(), &states, true);
    ASSERT_EQ(result.size(), kCount);
    EXPECT_TRUE(nn::Images(result).isSeries());
    EXPECT_EQ(MPS::imageBatchIncrementReadCount(result, 2), kCount);
    EXPECT_EQ(MPS::stateBatchIncrementReadCount(states, 1), kCount);
    EXPECT_TRUE(nn::Images(result).isSeries()) << "counting makes no images";
    for (std::size_t i = 0; i < kCount; ++i) {
      const auto image = std::dynamic_pointer_cast<MPS::TemporaryImage>(result[i]);
      ASSERT_NE(image, nullptr);
      EXPECT_EQ(image->readCount(), 3u);
      EXPECT_EQ(states[i]->readCount(), 2u);
      EXPECT_EQ(nn::Access::placement(*image).firstImage, i);
      for (std::size_t k = 0; k < i; ++k) EXPECT_NE(result[i], result[k]);
    }
    std::dynamic_pointer_cast<MPS::TemporaryImage>(result[1])->setReadCount(1);
    EXPECT_EQ(std::dynamic_pointer_cast<MPS::TemporaryImage>(result[2])->readCount(), 3u);
    MPS::imageBatchIncrementReadCount(result, -3);
    for (const auto& image : result) EXPECT_EQ(std::dynamic_pointer_cast<MPS::TemporaryImage>(image)->readCount(), 0u);
    MPS::stateBatchIncrementReadCount(states, -2);
  });
}

// The mask of one image of a batch is found whether or not its state was there when the kernel encoded.
TEST(Batch, StatesMadeLaterHoldTheirOwnMask) {
  constexpr std::size_t kCount = 3;
  const auto source = imageOf(Tensor(kCount, 2, 3, 4, 1.0));
  std::vector<std::byte> masks[2];
  for (const bool early : {false, true}) {
    const auto dropout = std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, 3, MTL::Size{1, 1, 1});
    MPS::CNNDropoutGradientStateBatch states;
    runOnCpu([&](const auto& buffer) {
      const MPS::ImageBatch images = source->batchRepresentation();
      if (early) {
        for (const auto& image : images) ASSERT_NE(image, nullptr);
      }
      MPS::StateBatch made;
      dropout->encodeBatch(buffer, images, &made, false);
      for (const auto& s : made) states.push_back(std::static_pointer_cast<MPS::CNNDropoutGradientState>(s));
    });
    for (const auto& s : states) {
      const std::vector<std::byte> mask = s->maskData();
      masks[early].insert(masks[early].end(), mask.begin(), mask.end());
    }
  }
  EXPECT_EQ(masks[0].size(), kCount * 2 * 3 * 4);
  EXPECT_EQ(masks[0], masks[1]);
  EXPECT_FALSE(std::equal(masks[0].begin(), masks[0].begin() + 24, masks[0].begin() + 24)) << "each its own";
}

}  // namespace
}  // namespace kovar::test
