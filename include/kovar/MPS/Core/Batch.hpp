#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kovar/Object.hpp"

namespace kovar::MPS {

template <class T>
class BatchView;

/// A list of objects that are processed together. It behaves as a vector of Ref does, with two additions: a batch of a
/// derived class converts to a batch of its base, and copies are cheap, since they share one list until one of them is
/// changed. Batches that kernels and graphs make are written down as a series, the first object and how the others
/// follow from it; the others are made when somebody asks for one of them.
template <class T>
class Batch {
 public:
  using value_type = Ref<T>;
  using iterator = typename std::vector<Ref<T>>::iterator;
  using const_iterator = typename std::vector<Ref<T>>::const_iterator;
  /// Object number i (from 1 on) of a series, from the first one.
  using Next = std::function<Ref<T>(const Ref<T>& first, std::size_t i)>;

  Batch() = default;
  Batch(std::initializer_list<Ref<T>> items) : list_(std::make_shared<List>(std::vector<Ref<T>>(items))) {}
  Batch(std::vector<Ref<T>> items)  // NOLINT(google-explicit-constructor)
      : list_(std::make_shared<List>(std::move(items))) {}
  explicit Batch(std::size_t count, const Ref<T>& value = nullptr) : Batch(std::vector<Ref<T>>(count, value)) {}
  template <class Iterator, class = typename std::iterator_traits<Iterator>::iterator_category>
  Batch(Iterator first, Iterator last) : Batch(std::vector<Ref<T>>(first, last)) {}
  template <class D, class = std::enable_if_t<std::is_convertible_v<D*, T*> && !std::is_same_v<D, T>>>
  Batch(const Batch<D>& other) : Batch(other.begin(), other.end()) {}  // NOLINT(google-explicit-constructor)
  Batch(const Batch& other) : list_(other.list_) {
    // Whoever holds a reference into the other's list may still write through it.
    if (list_ && list_->handedOut) list_ = std::make_shared<List>(list_->items);
  }
  Batch(Batch&& other) noexcept = default;
  Batch& operator=(const Batch& other) {
    if (this != &other) list_ = Batch(other).list_;
    return *this;
  }
  Batch& operator=(Batch&& other) noexcept = default;
  ~Batch() = default;

  /// `count` objects of which only the first is there yet. next: null where it is the same object throughout.
  static Batch series(const Ref<T>& first, std::size_t count, Next next) {
    Batch b;
    b.list_ = std::make_shared<List>(std::vector<Ref<T>>());
    b.list_->first = first;
    b.list_->count = count;
    b.list_->next = std::move(next);
    b.list_->isSeries = true;
    return b;
  }

  std::size_t size() const { return list_ ? list_->count : 0; }
  bool empty() const { return size() == 0; }
  Ref<T>& operator[](std::size_t i) { return own()[i]; }
  const Ref<T>& operator[](std::size_t i) const { return all()[i]; }
  Ref<T>& at(std::size_t i) { return own().at(i); }
  const Ref<T>& at(std::size_t i) const { return all().at(i); }
  const Ref<T>& front() const { return all().front(); }
  const Ref<T>& back() const { return all().back(); }
  iterator begin() { return own().begin(); }
  iterator end() { return own().end(); }
  const_iterator begin() const { return all().begin(); }
  const_iterator end() const { return all().end(); }
  void push_back(Ref<T> item) {
    apart().push_back(std::move(item));
    ++list_->count;
  }
  void reserve(std::size_t n) { apart().reserve(n); }
  void resize(std::size_t n) {
    apart().resize(n);
    list_->count = n;
  }
  void clear() { list_ = nullptr; }
  bool operator==(const Batch& other) const { return list_ == other.list_ || all() == other.all(); }

 private:
  struct List {
    explicit List(std::vector<Ref<T>> all) : items(std::move(all)), count(items.size()) {}
    std::vector<Ref<T>> items;  // none yet of a series
    std::size_t count;
    Ref<T> first;  // of a series
    Next next;
    std::atomic<bool> isSeries{false};
    std::once_flag made;
    bool handedOut = false;  // references that may be written through are about
  };

  const std::vector<Ref<T>>& all() const {
    static const std::vector<Ref<T>> kNone;
    if (!list_) return kNone;
    if (list_->isSeries) {
      List& list = *list_;
      std::call_once(list.made, [&list] {
        list.items.reserve(list.count);
        list.items.push_back(list.first);
        for (std::size_t i = 1; i < list.count; ++i)
          list.items.push_back(list.next ? list.next(list.first, i) : list.first);
        list.isSeries = false;
      });
    }
    return list_->items;
  }
  /// A list of this batch's own that has all items.
  std::vector<Ref<T>>& apart() {
    if (!list_)
      list_ = std::make_shared<List>(std::vector<Ref<T>>());
    else if (const auto& items = all(); list_.use_count() > 1)
      list_ = std::make_shared<List>(items);
    return list_->items;
  }
  std::vector<Ref<T>>& own() {
    std::vector<Ref<T>>& items = apart();
    list_->handedOut = true;
    return items;
  }

  std::shared_ptr<List> list_;
  friend class BatchView<T>;
};

/// The objects of a batch, or one object, for code that need not make those of a series. It refers to what it was made
/// from.
template <class T>
class BatchView {
 public:
  BatchView(const Batch<T>& batch) : batch_(&batch), size_(batch.size()) {}  // NOLINT(google-explicit-constructor)
  BatchView(const std::vector<Ref<T>>& items)                                // NOLINT(google-explicit-constructor)
      : items_(items.data()), size_(items.size()) {}
  explicit BatchView(const Ref<T>& one) : items_(&one), size_(1) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// True where the objects beyond the first are not made yet: they are as the first is.
  bool isSeries() const { return batch_ && batch_->list_ && batch_->list_->isSeries; }
  /// A series of one and the same object.
  bool isRepeated() const { return isSeries() && !batch_->list_->next; }
  const Ref<T>& front() const { return looks()[0]; }
  /// What has to be looked at to know all: the first of a series, else every object.
  std::span<const Ref<T>> looks() const {
    if (!batch_) return {items_, size_};
    if (!batch_->list_) return {};
    if (isSeries()) return {&batch_->list_->first, 1};
    return batch_->list_->items;
  }
  /// Every object; those of a series are made.
  std::span<const Ref<T>> all() const { return batch_ ? std::span<const Ref<T>>(batch_->all()) : looks(); }
  const Ref<T>& operator[](std::size_t i) const { return i == 0 ? front() : all()[i]; }
  auto begin() const { return all().begin(); }
  auto end() const { return all().end(); }

 private:
  const Batch<T>* batch_ = nullptr;
  const Ref<T>* items_ = nullptr;
  std::size_t size_;
};

}  // namespace kovar::MPS
