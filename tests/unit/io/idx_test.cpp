#include "base/io/idx.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <random>

#include "base/io/gzip.hpp"
#include "io/temporary_folder.hpp"

namespace kovar::base::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Bytes idx(std::uint8_t type, std::initializer_list<std::uint32_t> sizes, std::size_t values) {
  Bytes out = {0, 0, type, static_cast<std::uint8_t>(sizes.size())};
  for (const std::uint32_t size : sizes) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(size >> shift));
  }
  for (std::size_t i = 0; i < values; ++i) out.push_back(static_cast<std::uint8_t>(i * 3));
  return out;
}

Bytes gzip(const Bytes& plain) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes out(deflateBound(&stream, plain.size()) + 32);
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Bytes joined(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::string refusal(const Bytes& bytes, std::uint64_t limit = kIdxLimit) {
  const Result<IdxArray> array = parseIdx(bytes, "data", limit);
  return array.ok() ? "accepted" : array.failure().text;
}

TEST(Gunzip, RoundTripInOneOrMoreMembers) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const std::size_t size : {0u, 1u, 16383u, 16384u, 16385u, 200'000u}) {
    Bytes plain(size);
    for (auto& byte : plain) byte = static_cast<std::uint8_t>(random() % 5);
    const Result<Bytes> one = gunzip(gzip(plain), size, "data");
    ASSERT_TRUE(one.ok()) << one.failure().text;
    EXPECT_EQ(*one, plain);
    const Result<Bytes> two = gunzip(joined(gzip(plain), gzip({1, 2, 3})), size + 3, "data");
    ASSERT_TRUE(two.ok()) << two.failure().text;
    EXPECT_EQ(*two, joined(plain, {1, 2, 3}));
  }
}

TEST(Gunzip, SaysWhatIsWrong) {
  const Bytes packed = gzip(Bytes(100'000, 7));
  const auto text = [](const Bytes& bytes, std::uint64_t limit) {
    const Result<Bytes> plain = gunzip(bytes, limit, "data.gz");
    return plain.ok() ? "accepted" : plain.failure().text;
  };
  EXPECT_EQ(text(packed, 100'000), "accepted");
  EXPECT_EQ(text(packed, 99'999), "cannot unpack 'data.gz': it holds more than the limit of 99999 bytes");
  EXPECT_EQ(text(packed, 0), "cannot unpack 'data.gz': it holds more than the limit of 0 bytes");
  EXPECT_EQ(text(joined(packed, {0, 0}), 100'000), "cannot unpack 'data.gz': 2 bytes follow the gzip data");
  for (std::size_t size = 2; size < packed.size(); size += 7) {
    EXPECT_THAT(text(Bytes(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size)), 100'000),
                HasSubstr("is the file cut short?"));
  }
  Bytes damaged = packed;
  damaged[damaged.size() - 6] ^= 1;  // in the checksum
  EXPECT_THAT(text(damaged, 100'000), HasSubstr("the gzip data are damaged near byte"));
}

TEST(Idx, ReadsOneToFourDimensionsPlainAndPacked) {
  for (const Bytes& bytes : {idx(8, {5}, 5), idx(8, {2, 3}, 6), idx(8, {2, 3, 4}, 24), idx(8, {1, 2, 3, 4}, 24)}) {
    for (const Bytes& form : {bytes, gzip(bytes)}) {
      const Result<IdxArray> array = parseIdx(form, "data");
      ASSERT_TRUE(array.ok()) << array.failure().text;
      EXPECT_EQ(array->shape.size(), bytes[3]);
      EXPECT_EQ(array->shape.back(), bytes[bytes[3] * 4u + 3]);
      EXPECT_EQ(array->values, Bytes(bytes.begin() + 4 + 4 * bytes[3], bytes.end()));
    }
  }
}

TEST(Idx, SizesMayBeZero) {
  const Result<IdxArray> array = parseIdx(idx(8, {0, 0xffffffffu, 0xffffffffu}, 0), "data");
  ASSERT_TRUE(array.ok()) << array.failure().text;
  EXPECT_THAT(array->shape, ElementsAre(0, 0xffffffffll, 0xffffffffll));
}

TEST(Idx, SaysWhatIsWrong) {
  EXPECT_EQ(refusal({}), "cannot read 'data' as IDX: it has 0 bytes, wanted a header of at least 4");
  EXPECT_EQ(
      refusal({0x89, 'P', 'N', 'G', 0, 0}),
      "cannot read 'data' as IDX: the magic number is 0x89504e47, wanted 0x00000801 (labels) or 0x00000803 (images)");
  EXPECT_THAT(refusal({0, 0, 8, 0}), HasSubstr("the magic number is 0x00000800"));
  EXPECT_THAT(refusal({0, 0, 7, 1}), HasSubstr("the magic number is 0x00000701"));
  EXPECT_EQ(refusal(idx(0x0d, {2}, 8)), "cannot read 'data' as IDX: it holds 32-bit floats, wanted unsigned bytes");
  EXPECT_EQ(refusal(idx(8, {1, 1, 1, 1, 1}, 1)), "cannot read 'data' as IDX: it has 5 dimensions, wanted 1 to 4");
  EXPECT_EQ(refusal({0, 0, 8, 3, 0, 0, 0, 1}), "cannot read 'data' as IDX: it ends inside its header: 8 of 16 bytes");
  EXPECT_EQ(refusal(idx(8, {2, 3}, 5)),
            "cannot read 'data' as IDX: its sizes [2, 3] want 6 values, the file has 5; is it cut short?");
  EXPECT_EQ(refusal(idx(8, {2, 3}, 7)),
            "cannot read 'data' as IDX: its sizes [2, 3] want 6 values, the file has 7; what follows them does not "
            "belong there");
  EXPECT_EQ(refusal(idx(8, {0xffffffffu, 0xffffffffu}, 9)),
            "cannot read 'data' as IDX: its sizes [4294967295, 4294967295] stand for more than the limit of 1073741824 "
            "bytes");
  EXPECT_EQ(refusal(idx(8, {10}, 10), 10), "accepted");
  EXPECT_THAT(refusal(idx(8, {11}, 11), 10), HasSubstr("more than the limit of 10 bytes"));
  EXPECT_THAT(refusal(gzip(idx(8, {1000}, 1000)), 10), HasSubstr("more than the limit of 30 bytes"));
}

class LabelledImagesTest : public ::testing::Test {
 protected:
  std::string put(const std::string& name, const Bytes& bytes) {
    EXPECT_TRUE(writeFile(folder_.file(name), bytes).ok());
    return folder_.file(name);
  }
  std::string refused(const std::string& images, const std::string& labels) {
    const Result<LabelledImages> both = readLabelledImages(images, labels, 10);
    return both.ok() ? "accepted" : both.failure().text;
  }

  TemporaryFolder folder_;
};

TEST_F(LabelledImagesTest, ReadsWhatBelongsTogether) {
  const std::string images = put("images.gz", gzip(idx(8, {3, 2, 4}, 24)));
  const Result<LabelledImages> both = readLabelledImages(images, put("labels", idx(8, {3}, 3)), 10);
  ASSERT_TRUE(both.ok()) << both.failure().text;
  EXPECT_EQ(both->count, 3);
  EXPECT_EQ(both->height, 2);
  EXPECT_EQ(both->width, 4);
  EXPECT_EQ(both->pixels.size(), 24u);
  EXPECT_EQ(both->pixels[5], 15);
  EXPECT_THAT(both->labels, ElementsAre(0, 3, 6));
}

TEST_F(LabelledImagesTest, ReadsMnist) {
  const std::string data = KOVAR_SOURCE_DIR "/data/mnist/";
  const Result<LabelledImages> test =
      readLabelledImages(data + "t10k-images-idx3-ubyte.gz", data + "t10k-labels-idx1-ubyte.gz", 10);
  ASSERT_TRUE(test.ok()) << test.failure().text;
  EXPECT_EQ(test->count, 10'000);
  EXPECT_EQ(test->height, 28);
  EXPECT_EQ(test->width, 28);
  std::vector<int> counts(10);
  for (const std::uint8_t label : test->labels) ++counts[label];
  EXPECT_THAT(counts, ElementsAre(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009));  // as published
}

TEST_F(LabelledImagesTest, SaysWhatIsWrong) {
  const std::string images = put("images", idx(8, {3, 2, 4}, 24));
  const std::string labels = put("labels", idx(8, {3}, 3));
  // NOLINTNEXTLINE(readability-suspicious-call-argument): swapped on purpose
  EXPECT_EQ(refused(labels, images),
            "images and labels are swapped: '" + labels + "' holds labels and '" + images + "' holds images");
  EXPECT_EQ(refused(labels, labels),
            "'" + labels + "' has shape [3], wanted images: [count, height, width]; is it the label file?");
  EXPECT_EQ(refused(images, images),
            "'" + images + "' has shape [3, 2, 4], wanted labels: [count]; is it the image file?");
  const std::string more = put("more", idx(8, {5}, 5));
  EXPECT_EQ(refused(images, more),
            "'" + images + "' has 3 images but '" + more + "' has 5 labels; do they belong together?");
  const std::string wrong = put("wrong", joined(idx(8, {3}, 2), {10}));
  EXPECT_EQ(refused(images, wrong), "'" + wrong + "' has label 10 at 2, wanted 0 to 9");
  const std::string empty = put("empty", idx(8, {3, 0, 4}, 0));
  EXPECT_EQ(refused(empty, labels), "'" + empty + "' has shape [3, 0, 4], wanted at least one pixel");
  EXPECT_EQ(refused(folder_.file("none"), labels),
            "cannot read '" + folder_.file("none") + "': no such file or folder");
}

}  // namespace
}  // namespace kovar::base::io
