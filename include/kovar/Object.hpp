#pragma once

#include <memory>

namespace kovar {

/// How every object of the library is held. Made with std::make_shared.
template <class T>
using Ref = std::shared_ptr<T>;

/// Base of all objects with identity. Classes that can be copied have copy().
class Object : public std::enable_shared_from_this<Object> {
 public:
  virtual ~Object() = default;
  Object& operator=(const Object&) = delete;

 protected:
  Object() = default;
  Object(const Object&) = default;  // for copy(); a copy is a new object with its own references
  /// This object as a reference; T is the class that asks, or a base of it. Null while it is being constructed.
  template <class T>
  Ref<T> self() {
    return std::static_pointer_cast<T>(weak_from_this().lock());
  }
};

}  // namespace kovar
