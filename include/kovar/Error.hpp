#pragma once

#include <stdexcept>
#include <string>

namespace kovar {

/// Thrown where the documented API returns nil or asserts: when an object is made or work is encoded.
/// what() is one line: class and label, property, what was given, what is wanted, how to fix it.
/// Faults that appear later, while work runs, arrive through MTL::CommandBuffer::status() and error().
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& text) : std::runtime_error(text) {}
};

}  // namespace kovar
