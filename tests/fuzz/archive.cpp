// Archives: whatever the bytes, reading ends or throws an Error of one line, and what was read is written and read
// again alike. The input is tried as an archive and as the fields of one, behind a header that fits: mutations seldom
// keep a checksum.

#include "kovar/MPS/Core/Archive.hpp"

#include <cstring>
#include <span>
#include <vector>

#include "fuzz/support/check.hpp"
#include "kovar/Error.hpp"
#include "kovar/MPS/NN/CNNConvolutionDescriptor.hpp"
#include "kovar/MPS/NN/NNGraph.hpp"
#include "kovar/MTL/Device.hpp"

namespace kovar::fuzz {
namespace {

using Bytes = std::vector<std::byte>;

const Ref<MTL::Device>& device() {
  static const Ref<MTL::Device> d = MTL::deviceNamed("null");
  return d;
}

Ref<MPS::Kernel> next(MPS::Archive& archive) {
  if (archive.nextClassName() == "NNGraph") return std::make_shared<MPS::NNGraph>(archive, device());
  return archive.decodeKernel(device());
}

Bytes written(MPS::Kernel& kernel) {
  MPS::Archive archive;
  kernel.encodeWithCoder(archive);
  return archive.data();
}

void check(std::span<const std::byte> bytes) {
  try {
    MPS::Archive archive(bytes);
    while (!archive.nextClassName().empty()) {
      if (archive.nextClassName() == "CNNConvolutionDescriptor") {
        [[maybe_unused]] const MPS::CNNConvolutionDescriptor descriptor(archive);
        continue;
      }
      const Bytes first = written(*next(archive));
      MPS::Archive again(first);
      require(written(*next(again)) == first, "what was written is read alike");
    }
  } catch (const Error& e) {
    require(std::strchr(e.what(), '\n') == nullptr, "a message is one line");
  }
}

}  // namespace
}  // namespace kovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  kovar::fuzz::check(input);
  constexpr std::size_t kHeader = 32, kSize = 16, kChecksum = 24;
  if (size < kHeader) return 0;
  // The header of an empty archive, and the checksum of these fields.
  kovar::fuzz::Bytes sealed = kovar::MPS::Archive().data();
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte b : input.subspan(kHeader)) hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001b3u;
  const std::uint64_t fields = size - kHeader;
  std::memcpy(sealed.data() + kSize, &fields, sizeof fields);
  std::memcpy(sealed.data() + kChecksum, &hash, sizeof hash);
  sealed.insert(sealed.end(), input.begin() + kHeader, input.end());
  kovar::fuzz::check(sealed);
  return 0;
}
