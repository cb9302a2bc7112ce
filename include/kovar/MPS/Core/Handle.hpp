#pragma once

#include <string>
#include <utility>

#include "kovar/Object.hpp"

namespace kovar::MPS {

/// A caller's own tag for an image or state of a graph. Only its identity matters. Implements MPSHandle.
class Handle {
 public:
  virtual ~Handle() = default;
  virtual std::string label() = 0;
};

/// A ready-made handle: a name.
class NamedHandle final : public Object, public Handle {
 public:
  explicit NamedHandle(std::string name) : name_(std::move(name)) {}
  std::string label() override { return name_; }

 private:
  std::string name_;
};

}  // namespace kovar::MPS
