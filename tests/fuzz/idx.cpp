// IDX, plain and packed: what is accepted has as many values as its sizes say.

#include "base/io/idx.hpp"

#include "fuzz/support/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kovar;
  constexpr std::uint64_t kLimit = 1 << 20;
  const base::Result<base::io::IdxArray> array = base::io::parseIdx({data, size}, "input", kLimit);
  fuzz::requireOneLine(array);
  if (!array.ok()) return 0;
  std::uint64_t count = 1;
  for (const std::int64_t length : array->shape) {
    fuzz::require(length >= 0, "sizes are not negative");
    count = length == 0 ? 0 : count * static_cast<std::uint64_t>(length);
  }
  fuzz::require(!array->shape.empty() && array->shape.size() <= 4, "one to four dimensions");
  fuzz::require(array->values.size() <= kLimit, "the limit is kept");
  fuzz::require(count == array->values.size(), "sizes and values agree");
  return 0;
}
