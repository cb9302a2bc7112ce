#include "base/io/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "io/temporary_folder.hpp"

namespace kovar::base::io {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

// A file made by hand, independent of the writer.
Bytes file(const std::string& header, std::size_t dataBytes) {
  Bytes out;
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::uint8_t>(header.size() >> (8 * i)));
  out.insert(out.end(), header.begin(), header.end());
  for (std::size_t i = 0; i < dataBytes; ++i) out.push_back(static_cast<std::uint8_t>(i));
  return out;
}

std::string refusal(Bytes bytes) {
  const Result<Safetensors> parsed = Safetensors::parse(std::move(bytes), "w");
  if (parsed.ok()) return "accepted";
  constexpr std::string_view kPrefix = "cannot read 'w' as safetensors: ";
  const std::string& text = parsed.failure().text;
  EXPECT_TRUE(text.starts_with(kPrefix)) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  return text.substr(std::min(kPrefix.size(), text.size()));
}

std::string refusal(const std::string& header, std::size_t dataBytes = 0) { return refusal(file(header, dataBytes)); }

template <class T>
std::string textOf(const Result<T>& result) {
  return result.ok() ? "ok" : result.failure().text;
}

// Written by the Python package of the format's authors; its values are repeated here.
TEST(Safetensors, ReadsAFileOfTheReferenceImplementation) {
  const std::string path = KOVAR_SOURCE_DIR "/tests/data/safetensors/reference.safetensors";
  const Result<Safetensors> opened = Safetensors::open(path);
  ASSERT_TRUE(opened.ok()) << opened.failure().text;
  EXPECT_EQ(opened->tensors().size(), 8u);
  EXPECT_EQ(opened->metadata().at("format"), "kovar \xc3\xa9");
  const Result<std::vector<float>> weights = opened->floats("conv1.weight", {2, 3, 2, 2});
  ASSERT_TRUE(weights.ok()) << weights.failure().text;
  for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ((*weights)[i], static_cast<float>(i) / 8);
  EXPECT_THAT(*opened->floats("conv1.bias", {2}), ElementsAre(-1.5f, 0.25f));
  const std::vector<float> half = *opened->floats("half", {10});
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_THAT(std::vector<float>(half.begin(), half.end() - 1),
              ElementsAre(0.f, 0.f, 1.f, -2.f, 65504.f, 0x1p-14f, 0x1p-24f, kInfinity, -kInfinity));
  EXPECT_TRUE(std::signbit(half[1]));
  EXPECT_TRUE(std::isnan(half[9]));
  EXPECT_THAT(*opened->integers("step", {}), ElementsAre(1234567890123));
  EXPECT_THAT(*opened->unsignedIntegers("seed", {1}), ElementsAre(UINT64_MAX));
  EXPECT_THAT(*opened->bytes("pixels", {5}), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_TRUE(opened->floats("nothing", {0, 7})->empty());
  ASSERT_NE(opened->find("mask"), nullptr);
  EXPECT_EQ(opened->find("mask")->type, TensorType::Bool);
}

TEST(Safetensors, WidensBFloat16) {
  Bytes bytes = file(R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})", 0);
  for (const int byte : {0x80, 0x3f, 0x49, 0xc0}) bytes.push_back(static_cast<std::uint8_t>(byte));
  EXPECT_THAT(*Safetensors::parse(bytes, "w")->floats("a", {2}), ElementsAre(1.f, -3.140625f));
}

TEST(Safetensors, SaysWhichTensorIsNotAsWanted) {
  const Result<Safetensors> opened =
      Safetensors::parse(file(R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})", 8), "w");
  ASSERT_TRUE(opened.ok()) << opened.failure().text;
  EXPECT_EQ(textOf(opened->floats("b", {2})), "'w' has no tensor 'b'; is it the file of another network?");
  EXPECT_EQ(textOf(opened->floats("a", {3, 1})), "tensor 'a' of 'w' has shape [2], wanted [3, 1]");
  EXPECT_EQ(textOf(opened->floats("a", {2})), "tensor 'a' of 'w' has type I32, wanted F32, F16 or BF16");
  EXPECT_EQ(textOf(opened->integers("a", {2})), "tensor 'a' of 'w' has type I32, wanted I64");
  Bytes place(7);
  EXPECT_EQ(textOf(opened->read(*opened->find("a"), place)), "tensor 'a' of 'w' has 8 bytes, the place for it has 7");
}

TEST(Safetensors, RefusesBrokenFrames) {
  EXPECT_EQ(refusal(Bytes{1, 2, 3}), "it has 3 bytes, wanted a header length of 8 bytes");
  EXPECT_EQ(
      refusal(Bytes(8, 0xff)),
      "its header would have 18446744073709551615 bytes, wanted at most 100000000; it is probably another kind of "
      "file");
  EXPECT_THAT(refusal(Bytes{1, 0xe1, 0xf5, 5, 0, 0, 0, 0}), HasSubstr("100000001 bytes, wanted at most"));
  EXPECT_EQ(refusal(Bytes{9, 0, 0, 0, 0, 0, 0, 0, '{', '}'}),
            "its header has 9 bytes, the file ends after 2; is it cut short?");
  EXPECT_EQ(refusal(""), "its header does not begin with '{'; it is another kind of file");
  EXPECT_EQ(refusal(" {}"), "its header does not begin with '{'; it is another kind of file");
  EXPECT_EQ(refusal("{}", 3), "its tensors take 0 bytes, the file has 3 for them");
  EXPECT_EQ(refusal("{}   "), "accepted");
  EXPECT_THAT(refusal("{} x"), HasSubstr("the header is no valid JSON at byte"));
  EXPECT_THAT(refusal("{"), HasSubstr("the header is no valid JSON at byte"));
  EXPECT_THAT(refusal("{\"\xff\":1}"), HasSubstr("the header is no valid JSON at byte"));
}

TEST(Safetensors, RefusesHeadersOfAnotherForm) {
  const auto tensor = [](const std::string& fields) { return refusal(R"({"a":{)" + fields + "}}", 4); };
  const std::string type = R"("dtype":"F32")";
  const std::string shape = R"("shape":[1])";
  const std::string offsets = R"("data_offsets":[0,4])";
  EXPECT_EQ(tensor(type + "," + shape + "," + offsets), "accepted");
  EXPECT_EQ(tensor(type + "," + shape), "tensor 'a' lacks one of dtype, shape and data_offsets");
  EXPECT_EQ(tensor(type + "," + type + "," + shape + "," + offsets), "tensor 'a' has its dtype twice");
  EXPECT_EQ(tensor(R"("dtype":"F99")"), "the dtype of tensor 'a' is 'F99', which is unknown; F32 is an example");
  EXPECT_EQ(tensor(R"("dtype":3)"), "the dtype of tensor 'a' is the number 3");
  EXPECT_EQ(tensor(R"("code":1)"), "tensor 'a' has a field 'code', wanted dtype, shape and data_offsets");
  EXPECT_EQ(tensor(R"("shape":[-1])"), "the shape of tensor 'a' holds the number -1");
  EXPECT_EQ(tensor(R"("shape":[1.5])"), "the shape of tensor 'a' holds the number 1.5");
  EXPECT_EQ(tensor(R"("shape":[[1]])"), "the shape of tensor 'a' holds a list");
  EXPECT_EQ(tensor(R"("shape":[9223372036854775808])"), "the shape of tensor 'a' holds 9223372036854775808");
  EXPECT_EQ(tensor(R"("shape":null)"), "the shape of tensor 'a' is null");
  EXPECT_EQ(tensor(R"("data_offsets":[0,4,8])"), "data_offsets of tensor 'a' hold more than two numbers");
  EXPECT_EQ(tensor(type + "," + shape + R"(,"data_offsets":[4,0])"),
            "data_offsets of tensor 'a' are [4, 0], wanted [begin, end]");
  EXPECT_EQ(tensor(type + "," + shape + R"(,"data_offsets":[4])"),
            "data_offsets of tensor 'a' are [4], wanted [begin, end]");
  EXPECT_EQ(tensor(type + R"(,"shape":[2],)" + offsets),
            "tensor 'a' of type F32 and shape [2] wants 8 bytes, its data_offsets give 4");
  EXPECT_EQ(tensor(type + R"(,"shape":[4611686018427387904,4],)" + offsets),
            "the shape of tensor 'a' is [4611686018427387904, 4], which is too large");
  std::string ones = "1";
  for (int i = 0; i < 32; ++i) ones += ",1";
  EXPECT_EQ(tensor(R"("shape":[)" + ones + "]"), "tensor 'a' has more than 32 dimensions");
  EXPECT_EQ(refusal(R"({"a":1})"), "'a' is the number 1, wanted an object");
  EXPECT_EQ(refusal(R"({"a":{"dtype":{}}})"), "the dtype of tensor 'a' is an object");
  EXPECT_EQ(refusal(R"({"__metadata__":{"k":1}})"), "metadata 'k' is the number 1, wanted a text");
  EXPECT_EQ(refusal(R"({"__metadata__":{"k":"a","k":"b"}})"), "the name 'k' stands there twice");
  EXPECT_EQ(refusal(R"({"__metadata__":{},"__metadata__":{}})"), "the name '__metadata__' stands there twice");
}

TEST(Safetensors, RefusesGapsOverlapsAndDoubles) {
  const auto two = [](const std::string& first, const std::string& second, std::size_t data) {
    return refusal(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
                       R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                   data);
  };
  EXPECT_EQ(two("[0,4]", "[4,8]", 8), "accepted");
  EXPECT_EQ(two("[4,8]", "[0,4]", 8), "accepted");
  EXPECT_EQ(two("[0,4]", "[3,7]", 8),
            "tensor 'b' begins at 3, inside the tensor before it, wanted 4, where the tensors before it end");
  EXPECT_EQ(two("[0,4]", "[5,9]", 9), "tensor 'b' begins at 5, wanted 4, where the tensors before it end");
  EXPECT_EQ(two("[1,5]", "[5,9]", 9), "tensor 'a' begins at 1, wanted 0, where the tensors before it end");
  EXPECT_EQ(two("[0,4]", "[4,8]", 7), "its tensors take 8 bytes, the file has 7 for them; is it cut short?");
  EXPECT_EQ(two("[0,4]", "[4,8]", 9), "its tensors take 8 bytes, the file has 9 for them");
  EXPECT_EQ(two("[0,4]", "[18446744073709551610,18446744073709551614]", 8),
            "tensor 'b' begins at 18446744073709551610, wanted 4, where the tensors before it end");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                    R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
            "the name 'a' stands there twice");
}

TEST(SafetensorsWriter, RoundTripOfRandomTensors) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  constexpr TensorType kAll[] = {TensorType::Bool,   TensorType::U8,  TensorType::I8,  TensorType::F8E4M3,
                                 TensorType::F8E5M2, TensorType::I16, TensorType::U16, TensorType::F16,
                                 TensorType::BF16,   TensorType::I32, TensorType::U32, TensorType::F32,
                                 TensorType::I64,    TensorType::U64, TensorType::F64};
  struct Given {
    std::string name;
    TensorType type;
    TensorShape shape;
    Bytes data;
  };
  std::vector<Given> given;
  for (int i = 0; i < 40; ++i) {
    Given g{"tensor \"" + std::to_string(i) + "\"\n\xc3\xa9", kAll[random() % std::size(kAll)], {}, {}};
    std::uint64_t bytes = sizeOf(g.type);
    for (unsigned d = random() % 5; d > 0; --d) {
      g.shape.push_back(random() % 5);
      bytes *= static_cast<std::uint64_t>(g.shape.back());
    }
    g.data.resize(bytes);
    for (auto& byte : g.data) byte = static_cast<std::uint8_t>(random());
    given.push_back(g);
  }
  const auto writerOf = [](const std::vector<Given>& tensors) {
    SafetensorsWriter writer;
    EXPECT_TRUE(writer.setMetadata("b", "2").ok());
    EXPECT_TRUE(writer.setMetadata("a", "1").ok());
    for (const Given& g : tensors) {
      const Status added = writer.add(g.name, g.type, g.shape, g.data);
      EXPECT_TRUE(added.ok()) << textOf(added);
    }
    return writer;
  };
  const Bytes bytes = writerOf(given).bytes();
  std::shuffle(given.begin(), given.end(), random);
  EXPECT_EQ(writerOf(given).bytes(), bytes) << "the order of adding shows";

  const TemporaryFolder folder;
  ASSERT_TRUE(writerOf(given).save(folder.file("w")).ok());
  EXPECT_EQ(*readFile(folder.file("w"), 1 << 20), bytes);
  const Result<Safetensors> opened = Safetensors::open(folder.file("w"));
  ASSERT_TRUE(opened.ok()) << opened.failure().text;
  EXPECT_EQ(opened->metadata(), (std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}}));
  ASSERT_EQ(opened->tensors().size(), given.size());
  const std::uint64_t header = bytes[0] | std::uint64_t{bytes[1]} << 8;
  EXPECT_EQ(header % 8, 0u);
  for (const Given& g : given) {
    const TensorInfo* info = opened->find(g.name);
    ASSERT_NE(info, nullptr) << g.name;
    EXPECT_EQ(info->type, g.type);
    EXPECT_EQ(info->shape, g.shape);
    EXPECT_EQ(info->offset % sizeOf(g.type), 0u) << "not aligned";
    Bytes data(info->bytes);
    ASSERT_TRUE(opened->read(*info, data).ok());
    EXPECT_EQ(data, g.data);
  }
}

// The same tensors, added in another order, give the very bytes that the reference implementation wrote.
TEST(SafetensorsWriter, AgreesWithTheReferenceImplementation) {
  const std::string path = KOVAR_SOURCE_DIR "/tests/data/safetensors/reference.safetensors";
  const Result<Safetensors> reference = Safetensors::open(path);
  ASSERT_TRUE(reference.ok()) << reference.failure().text;
  SafetensorsWriter writer;
  std::map<std::string, Bytes> data;
  for (const TensorInfo& tensor : reference->tensors()) {
    Bytes& bytes = data[tensor.name];
    bytes.resize(tensor.bytes);
    ASSERT_TRUE(reference->read(tensor, bytes).ok());
  }
  for (const auto& [name, bytes] : data) {
    const TensorInfo& tensor = *reference->find(name);
    ASSERT_TRUE(writer.add(name, tensor.type, tensor.shape, bytes).ok());
  }
  ASSERT_TRUE(writer.setMetadata("format", reference->metadata().at("format")).ok());
  EXPECT_EQ(writer.bytes(), *readFile(path, 1 << 20));
}

TEST(SafetensorsWriter, TheBytesAreFixed) {
  SafetensorsWriter writer;
  const float weights[] = {1.f, -2.f};
  const std::uint64_t seed[] = {7};
  ASSERT_TRUE(writer.add("weights", {2, 1}, weights).ok());
  ASSERT_TRUE(writer.add("seed", {}, seed).ok());
  ASSERT_TRUE(writer.setMetadata("format", "kovar").ok());
  const Bytes bytes = writer.bytes();
  const std::string header =
      R"({"__metadata__":{"format":"kovar"},"seed":{"dtype":"U64","shape":[],"data_offsets":[0,8]},)"
      R"("weights":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}})";
  const std::string text(bytes.begin() + 8, bytes.end());
  EXPECT_THAT(text, testing::StartsWith(header));
  EXPECT_EQ(bytes.size(), 8 + (header.size() + 7) / 8 * 8 + 16);
  float last = 0;
  std::memcpy(&last, bytes.data() + bytes.size() - 4, 4);
  EXPECT_EQ(last, -2.f);
}

TEST(SafetensorsWriter, SaysWhatIsWrong) {
  SafetensorsWriter writer;
  const float two[] = {1.f, 2.f};
  EXPECT_EQ(textOf(writer.add("a", {3}, two)), "tensor 'a' of type F32 and shape [3] is given 8 bytes, wanted 12");
  EXPECT_EQ(textOf(writer.add("a", {-2}, two)), "tensor 'a' of type F32 and shape [-2] is given 8 bytes");
  EXPECT_EQ(textOf(writer.add("a", {2}, two)), "ok");
  EXPECT_EQ(textOf(writer.add("a", {2}, two)), "tensor 'a' is added twice");
  EXPECT_THAT(textOf(writer.add("__metadata__", {2}, two)), EndsWith("wanted UTF-8 and not __metadata__"));
  EXPECT_THAT(textOf(writer.add("\xff", {2}, two)), EndsWith("wanted UTF-8 and not __metadata__"));
  EXPECT_EQ(textOf(writer.setMetadata("k", "\xff")), "metadata 'k' is not UTF-8");
  EXPECT_THAT(textOf(writer.save("/nowhere/file")), HasSubstr("no such file or folder"));
}

TEST(Safetensors, AFileThatShrinksAfterOpeningIsAFailure) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w");
  ASSERT_TRUE(writeFile(path, file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4)).ok());
  const Result<Safetensors> opened = Safetensors::open(path);
  ASSERT_TRUE(opened.ok()) << opened.failure().text;
  ASSERT_EQ(::truncate(path.c_str(), 20), 0);
  EXPECT_THAT(textOf(opened->bytes("a", {4})), HasSubstr("it was cut to"));
}

}  // namespace
}  // namespace kovar::base::io
