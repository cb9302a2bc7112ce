#pragma once

#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

#include "kovar/Object.hpp"

namespace kovar::MPS {

/// A list of objects that are processed together. A vector of Ref with one addition: a batch of a derived class
/// converts to a batch of its base.
template <class T>
class Batch {
 public:
  using value_type = Ref<T>;
  using iterator = typename std::vector<Ref<T>>::iterator;
  using const_iterator = typename std::vector<Ref<T>>::const_iterator;

  Batch() = default;
  Batch(std::initializer_list<Ref<T>> items) : items_(items) {}
  Batch(std::vector<Ref<T>> items) : items_(std::move(items)) {}  // NOLINT(google-explicit-constructor)
  explicit Batch(std::size_t count, const Ref<T>& value = nullptr) : items_(count, value) {}
  template <class Iterator, class = typename std::iterator_traits<Iterator>::iterator_category>
  Batch(Iterator first, Iterator last) : items_(first, last) {}
  template <class D, class = std::enable_if_t<std::is_convertible_v<D*, T*> && !std::is_same_v<D, T>>>
  Batch(const Batch<D>& other) : items_(other.begin(), other.end()) {}  // NOLINT(google-explicit-constructor)

  std::size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  Ref<T>& operator[](std::size_t i) { return items_[i]; }
  const Ref<T>& operator[](std::size_t i) const { return items_[i]; }
  Ref<T>& at(std::size_t i) { return items_.at(i); }
  const Ref<T>& at(std::size_t i) const { return items_.at(i); }
  const Ref<T>& front() const { return items_.front(); }
  const Ref<T>& back() const { return items_.back(); }
  iterator begin() { return items_.begin(); }
  iterator end() { return items_.end(); }
  const_iterator begin() const { return items_.begin(); }
  const_iterator end() const { return items_.end(); }
  void push_back(Ref<T> item) { items_.push_back(std::move(item)); }
  void reserve(std::size_t n) { items_.reserve(n); }
  void resize(std::size_t n) { items_.resize(n); }
  void clear() { items_.clear(); }
  bool operator==(const Batch&) const = default;

 private:
  std::vector<Ref<T>> items_;
};

}  // namespace kovar::MPS
