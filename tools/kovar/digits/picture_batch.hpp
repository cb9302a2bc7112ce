#pragma once
// Pictures on their way to a graph: one allocation for a whole batch, written again for every step.

#include <cstdint>
#include <span>
#include <vector>

#include "base/io/idx.hpp"
#include "kovar/kovar.hpp"

namespace kovar::tools {

class PictureBatch {
 public:
  PictureBatch(const Ref<MTL::Device>& device, std::size_t count);

  /// Copies pictures of the set; no command buffer that reads the batch may be running. Fewer than the batch holds: the
  /// rest keeps what it had.
  void write(const base::io::LabelledImages& set, std::span<const std::uint64_t> which);
  /// Views, one a picture.
  const MPS::ImageBatch& images() const { return images_; }

 private:
  Ref<MPS::Image> all_;
  MPS::ImageBatch images_;
  std::vector<std::uint8_t> staging_;
};

}  // namespace kovar::tools
