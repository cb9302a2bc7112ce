#pragma once
// The steps between a list as encoded and a list that runs. Each takes a list and changes it in place; each can be
// tested on its own. The order is that of planList().

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "prim/op_list.hpp"

namespace kovar::rt {

/// Refuses lists that cannot run: views beyond their storage, arguments that do not fit the primitive, a temporary read
/// before anything wrote it. The text names the operation.
base::Status verify(const prim::OpList& list);

/// Drops copies that only rename memory: a temporary that begins as a copy of A, and ends as the copy back into A,
/// becomes A; a temporary that is a plain copy of memory not written meanwhile is read where it came from.
void elideCopies(prim::OpList& list);

/// Keeps promotable float16 temporaries in float32.
void promoteTemporaries(prim::OpList& list);

/// Training: where a rectified image is only pooled, the pooling and its gradient take the rectifier with its gradient
/// into their own loops, and the rectified image is never written. For devices with Caps::rectifiedPools.
void rectifyPools(prim::OpList& list);

/// Where a product is a gradient that only an optimizer step reads, the product runs the step on each piece of itself:
/// the gradient is never written. For devices with Caps::updatingProducts.
void updateInProducts(prim::OpList& list);

/// Appends element-wise operations to the convolution, product or pooling that makes their input, and element-wise
/// operations to each other, where nobody else reads what lies between.
void fuseElementwise(prim::OpList& list);

/// Removes operations whose results nobody reads.
void dropDead(prim::OpList& list);

struct MemoryPlan {
  std::vector<std::int64_t> place;     ///< per storage: byte offset, or -1 where it has memory of its own
  std::vector<std::uint32_t> lastUse;  ///< per storage
  std::size_t bytes = 0;
  std::size_t sum = 0;  ///< of all temporaries placed
};

/// Lays the temporaries out: two whose lives overlap never share bytes. Every offset is a multiple of 64.
MemoryPlan planMemory(const prim::OpList& list);

/// First and last operation that touches each storage; first > last where none does.
struct Lives {
  std::vector<std::uint32_t> first, last;
};
Lives livesOf(const prim::OpList& list);

}  // namespace kovar::rt
