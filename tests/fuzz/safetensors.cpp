// safetensors: every tensor of an accepted file can be read, and the writer makes an equal file of it. The input is
// tried as a file, and as the header of one: mutations seldom keep a length and what it counts in step.

#include "base/io/safetensors.hpp"

#include <map>
#include <utility>

#include "fuzz/support/check.hpp"

namespace kovar::fuzz {
namespace {

void check(base::io::Bytes bytes) {
  using namespace base::io;
  const base::Result<Safetensors> file = Safetensors::parse(std::move(bytes), "input");
  requireOneLine(file);
  if (!file.ok()) return;
  SafetensorsWriter writer;
  std::map<std::string, Bytes> data;
  for (const auto& [key, value] : file->metadata()) require(writer.setMetadata(key, value).ok(), "metadata are texts");
  for (const TensorInfo& tensor : file->tensors()) {
    Bytes& elements = data[tensor.name];
    elements.resize(tensor.bytes);
    require(file->read(tensor, elements).ok(), "a tensor can be read");
    require(writer.add(tensor.name, tensor.type, tensor.shape, elements).ok(), "a tensor can be written");
    requireOneLine(file->floats(tensor.name, tensor.shape));
  }
  const base::Result<Safetensors> again = Safetensors::parse(writer.bytes(), "again");
  require(again.ok(), "what was written is accepted");
  require(again->metadata() == file->metadata(), "metadata survive");
  require(again->tensors().size() == file->tensors().size(), "tensors survive");
  for (const auto& [name, elements] : data) {
    Bytes other(elements.size());
    require(again->read(*again->find(name), other).ok() && other == elements, "elements survive");
  }
}

}  // namespace
}  // namespace kovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kovar::fuzz::check({data, data + size});
  for (const std::size_t behind : {0u, 16u}) {
    kovar::base::io::Bytes framed;
    for (int i = 0; i < 8; ++i) framed.push_back(static_cast<std::uint8_t>(std::uint64_t{size} >> (8 * i)));
    framed.insert(framed.end(), data, data + size);
    framed.resize(framed.size() + behind);
    kovar::fuzz::check(std::move(framed));
  }
  return 0;
}
