#pragma once
// Least recently used cache, bounded in bytes. A hit needs an equal key, not only an equal hash.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace kovar::rt {

template <class Value>
class PlanCache {
 public:
  explicit PlanCache(std::size_t capacityBytes) : capacity_(capacityBytes) {}

  /// `equal(value)` decides whether a value of the same hash is the one wanted. Returns a null Value when there is
  /// none.
  template <class Equal>
  Value find(std::uint64_t hash, Equal&& equal) {
    std::scoped_lock lock(mutex_);
    auto [first, last] = index_.equal_range(hash);
    for (; first != last; ++first) {
      if (!equal(first->second->value)) continue;
      entries_.splice(entries_.begin(), entries_, first->second);
      ++hits_;
      return first->second->value;
    }
    ++misses_;
    return Value{};
  }

  void put(std::uint64_t hash, Value value, std::size_t bytes) {
    std::scoped_lock lock(mutex_);
    entries_.push_front(Entry{hash, std::move(value), bytes});
    index_.emplace(hash, entries_.begin());
    used_ += bytes;
    while (used_ > capacity_ && entries_.size() > 1) evict();
  }

  std::size_t hits() const { return count(hits_); }
  std::size_t misses() const { return count(misses_); }
  std::size_t size() const {
    std::scoped_lock lock(mutex_);
    return entries_.size();
  }

 private:
  struct Entry {
    std::uint64_t hash;
    Value value;
    std::size_t bytes;
  };

  void evict() {
    auto last = std::prev(entries_.end());
    auto [first, end] = index_.equal_range(last->hash);
    for (; first != end; ++first) {
      if (first->second != last) continue;
      index_.erase(first);
      break;
    }
    used_ -= last->bytes;
    entries_.pop_back();
  }
  std::size_t count(const std::size_t& v) const {
    std::scoped_lock lock(mutex_);
    return v;
  }

  mutable std::mutex mutex_;
  std::size_t capacity_, used_ = 0, hits_ = 0, misses_ = 0;
  std::list<Entry> entries_;
  std::unordered_multimap<std::uint64_t, typename std::list<Entry>::iterator> index_;
};

}  // namespace kovar::rt
