#pragma once
// Errors inside the library travel as values. The public edge turns them into kovar::Error once (src/base/edge.hpp).

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace kovar::base {

/// One line for a person: what failed, where, what was given, what is wanted, how to fix it.
struct Failure {
  std::string text;
};

/// Either a value or a Failure. Never ignored by accident.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Failure failure)
      : state_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Failure& failure() const { return std::get<1>(state_); }

 private:
  std::variant<T, Failure> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Failure failure) : failure_(std::move(failure)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !failure_; }
  explicit operator bool() const { return ok(); }
  const Failure& failure() const { return *failure_; }

 private:
  std::optional<Failure> failure_;
};

using Status = Result<void>;

}  // namespace kovar::base

#define KOVAR_CONCAT_(a, b) a##b
#define KOVAR_CONCAT(a, b) KOVAR_CONCAT_(a, b)

/// Returns the failure of `expr` from the enclosing function, if there is one.
#define KOVAR_TRY(expr)                                                                \
  do {                                                                                 \
    if (auto kovar_status = (expr); !kovar_status.ok()) return kovar_status.failure(); \
  } while (false)

/// Declares `decl` from the value of `expr`, or returns its failure.
#define KOVAR_TRY_ASSIGN(decl, expr)                                                                       \
  auto KOVAR_CONCAT(kovar_result_, __LINE__) = (expr);                                                     \
  if (!KOVAR_CONCAT(kovar_result_, __LINE__).ok()) return KOVAR_CONCAT(kovar_result_, __LINE__).failure(); \
  decl = std::move(*KOVAR_CONCAT(kovar_result_, __LINE__))
