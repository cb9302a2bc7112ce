// Each pass on its own: plain lists in, plain lists out, no device.

#include "runtime/passes/passes.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace kovar::rt {
namespace {

using prim::Access;
using prim::Arg;
using prim::DType;
using prim::View;

Arg reading(std::uint32_t id, View v) { return {id, Access::Read, v}; }
Arg writing(std::uint32_t id, View v) { return {id, Access::Write, v}; }
Arg changing(std::uint32_t id, View v) { return {id, Access::ReadWrite, v}; }

/// Builds lists in a few words. Storage `t` is a temporary, `s` lasts.
class Builder {
 public:
  std::uint32_t t(std::size_t floats, bool promotable = false) { return add(floats, true, promotable); }
  std::uint32_t s(std::size_t floats) { return add(floats, false, false); }
  Builder& op(prim::Prim p, std::initializer_list<Arg> args) {
    prim::Op o;
    o.prim = p;
    o.origin = static_cast<std::uint32_t>(list.ops.size());
    list.add(o, {args.begin(), args.size()});
    return *this;
  }
  prim::OpList list;

 private:
  std::uint32_t add(std::size_t floats, bool temporary, bool promotable) {
    list.storages.push_back({floats * sizeof(float), temporary, promotable});
    return static_cast<std::uint32_t>(list.storages.size() - 1);
  }
};

View vec(std::int64_t n, DType type = DType::F32) { return View::contiguous(type, {1, n}); }
View img(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  return View::image(DType::F32, n, h, w, c, c);
}

prim::Elementwise relu() {
  prim::Elementwise e;
  prim::EwStep load, neuron, store;
  load.op = prim::EwOp::Load;
  neuron.op = prim::EwOp::Neuron;
  neuron.code = 1;
  store.op = prim::EwOp::Store;
  store.arg = 1;
  e.program.push(load);
  e.program.push(neuron);
  e.program.push(store);
  return e;
}

/// r0 = arg0 + arg1, stored to arg2.
prim::Elementwise addition(bool valueFirst = true) {
  prim::Elementwise e;
  for (std::uint8_t i = 0; i < 2; ++i) {
    prim::EwStep load;
    load.op = prim::EwOp::Load;
    load.dst = load.arg = valueFirst ? i : static_cast<std::uint8_t>(1 - i);
    e.program.push(load);
  }
  prim::EwStep add, store;
  add.op = prim::EwOp::Add;
  add.b = 1;
  store.op = prim::EwOp::Store;
  store.arg = 2;
  e.program.push(add);
  e.program.push(store);
  return e;
}

prim::Conv conv1x1() { return {}; }

// --- verify
// ---------------------------------------------------------------------------------------------------------------

TEST(Verify, AcceptsAWellFormedList) {
  Builder b;
  const auto src = b.s(8), tmp = b.t(8), dst = b.s(8);
  b.op(prim::Copy{}, {reading(src, vec(8)), writing(tmp, vec(8))})
      .op(prim::Copy{}, {reading(tmp, vec(8)), writing(dst, vec(8))});
  EXPECT_TRUE(verify(b.list).ok());
}

TEST(Verify, RefusesATemporaryNobodyWrote) {
  Builder b;
  const auto tmp = b.t(8), dst = b.s(8);
  b.op(prim::Copy{}, {reading(tmp, vec(8)), writing(dst, vec(8))});
  const auto s = verify(b.list);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.failure().text.find("operation #0 (copy"), std::string::npos) << s.failure().text;
  EXPECT_NE(s.failure().text.find("nothing has written"), std::string::npos) << s.failure().text;
}

TEST(Verify, RefusesViewsBeyondTheirStorage) {
  Builder b;
  const auto src = b.s(8), dst = b.s(7);
  b.op(prim::Copy{}, {reading(src, vec(8)), writing(dst, vec(8))});
  const auto s = verify(b.list);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.failure().text.find("reaches beyond its 28 bytes"), std::string::npos) << s.failure().text;
}

TEST(Verify, RefusesArgumentsThatDoNotFit) {
  Builder b;
  const auto src = b.s(8), dst = b.s(9);
  b.op(relu(), {reading(src, vec(8)), writing(dst, vec(9))});
  const auto s = verify(b.list);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.failure().text.find("operation #0 (elementwise"), std::string::npos) << s.failure().text;
}

// --- copies
// ---------------------------------------------------------------------------------------------------------------

TEST(ElideCopies, UpdateInPlaceBecomesTheOriginal) {
  // export -> step in place -> reload
  Builder b;
  const auto weights = b.s(8), gradient = b.s(8), tmp = b.t(8);
  b.op(prim::Copy{}, {reading(weights, vec(8)), writing(tmp, vec(8))})
      .op(prim::Step{}, {reading(gradient, vec(8)), reading(tmp, vec(8)), writing(tmp, vec(8))})
      .op(prim::Copy{}, {reading(tmp, vec(8)), writing(weights, vec(8))});
  elideCopies(b.list);
  ASSERT_EQ(b.list.ops.size(), 1u);
  for (const Arg& a : b.list.argsOf(b.list.ops[0])) EXPECT_NE(a.storage, tmp);
}

TEST(ElideCopies, AReadOnlyCopyIsReadAtItsSource) {
  Builder b;
  const auto weights = b.s(8), tmp = b.t(8), out = b.s(8);
  b.op(prim::Copy{}, {reading(weights, vec(8)), writing(tmp, vec(8))})
      .op(relu(), {reading(tmp, vec(8)), writing(out, vec(8))});
  elideCopies(b.list);
  ASSERT_EQ(b.list.ops.size(), 1u);
  EXPECT_EQ(b.list.args[b.list.ops[0].firstArg].storage, weights);
}

TEST(ElideCopies, KeepsACopyWhoseSourceChangesBeforeTheLastRead) {
  Builder b;
  const auto weights = b.s(8), tmp = b.t(8), out = b.s(8);
  b.op(prim::Copy{}, {reading(weights, vec(8)), writing(tmp, vec(8))})
      .op(prim::Fill{1.f}, {writing(weights, vec(8))})
      .op(relu(), {reading(tmp, vec(8)), writing(out, vec(8))});
  elideCopies(b.list);
  EXPECT_EQ(b.list.ops.size(), 3u);
}

TEST(ElideCopies, KeepsACopyThatIsChangedWhileTheOriginalIsRead) {
  Builder b;
  const auto weights = b.s(8), tmp = b.t(8), out = b.s(8);
  b.op(prim::Copy{}, {reading(weights, vec(8)), writing(tmp, vec(8))})
      .op(prim::Fill{1.f}, {writing(tmp, vec(8))})
      .op(relu(), {reading(weights, vec(8)), writing(out, vec(8))})
      .op(prim::Copy{}, {reading(tmp, vec(8)), writing(weights, vec(8))});
  elideCopies(b.list);
  EXPECT_EQ(b.list.ops.size(), 4u);
}

TEST(ElideCopies, KeepsConversionsAndParts) {
  Builder b;
  const auto weights = b.s(8), half = b.t(4), part = b.t(4), out = b.s(8);
  b.op(prim::Copy{}, {reading(weights, vec(8)), writing(half, vec(8, DType::F16))})
      .op(prim::Copy{}, {reading(weights, vec(4)), writing(part, vec(4))})
      .op(relu(), {reading(half, vec(8, DType::F16)), writing(out, vec(8))})
      .op(relu(), {reading(part, vec(4)), writing(out, vec(4))});
  elideCopies(b.list);
  EXPECT_EQ(b.list.ops.size(), 4u);
}

// --- formats
// --------------------------------------------------------------------------------------------------------------

TEST(Promote, HalfTemporariesBecomeFloat) {
  Builder b;
  const auto src = b.s(8), tmp = b.t(4, true), dst = b.s(8);
  b.op(prim::Copy{}, {reading(src, vec(8)), writing(tmp, vec(8, DType::F16))})
      .op(prim::Copy{}, {reading(tmp, vec(8, DType::F16)), writing(dst, vec(8))});
  promoteTemporaries(b.list);
  EXPECT_EQ(b.list.storages[tmp].bytes, 32u);
  EXPECT_EQ(b.list.args[1].view.dtype, DType::F32);
  EXPECT_EQ(b.list.args[2].view.dtype, DType::F32);
}

TEST(Promote, LeavesWhatSomebodyLooksAtAsBits) {
  Builder b;
  const auto src = b.s(8), tmp = b.t(4, true), lasting = b.s(4);
  b.op(prim::Copy{}, {reading(src, vec(8)), writing(tmp, vec(8, DType::F16))})
      .op(prim::Call{}, {reading(tmp, vec(8, DType::F16))})
      .op(prim::Copy{}, {reading(src, vec(8)), writing(lasting, vec(8, DType::F16))});
  promoteTemporaries(b.list);
  EXPECT_EQ(b.list.args[1].view.dtype, DType::F16);
  EXPECT_EQ(b.list.storages[tmp].bytes, 16u);
  EXPECT_EQ(b.list.args[4].view.dtype, DType::F16);
}

// --- fusion
// ---------------------------------------------------------------------------------------------------------------

TEST(Fuse, NeuronAfterConvolution) {
  Builder b;
  const auto src = b.s(64), w = b.s(16), mid = b.t(64), dst = b.s(64);
  b.op(conv1x1(), {reading(src, img(1, 4, 4, 4)), reading(w, View::contiguous(DType::F32, {4, 1, 1, 4})),
                   writing(mid, img(1, 4, 4, 4))})
      .op(relu(), {reading(mid, img(1, 4, 4, 4)), writing(dst, img(1, 4, 4, 4))});
  fuseElementwise(b.list);
  ASSERT_EQ(b.list.ops.size(), 1u);
  const auto& conv = std::get<prim::Conv>(b.list.ops[0].prim);
  ASSERT_EQ(conv.post.count, 1u);
  EXPECT_EQ(conv.post.steps[0].op, prim::EwOp::Neuron);
  EXPECT_EQ(b.list.argsOf(b.list.ops[0])[2].storage, dst);
}

TEST(Fuse, ChainOfConvolutionNeuronAddition) {
  Builder b;
  const auto src = b.s(64), w = b.s(16), mid = b.t(64), mid2 = b.t(64), skip = b.s(64), dst = b.s(64);
  b.op(conv1x1(), {reading(src, img(1, 4, 4, 4)), reading(w, View::contiguous(DType::F32, {4, 1, 1, 4})),
                   writing(mid, img(1, 4, 4, 4))})
      .op(relu(), {reading(mid, img(1, 4, 4, 4)), writing(mid2, img(1, 4, 4, 4))})
      .op(addition(), {reading(mid2, img(1, 4, 4, 4)), reading(skip, img(1, 4, 4, 4)), writing(dst, img(1, 4, 4, 4))});
  fuseElementwise(b.list);
  ASSERT_EQ(b.list.ops.size(), 1u) << b.list.text();
  const auto args = b.list.argsOf(b.list.ops[0]);
  ASSERT_EQ(args.size(), 4u);
  EXPECT_EQ(args[2].storage, dst);
  EXPECT_EQ(args[3].storage, skip);
  EXPECT_TRUE(verify(b.list).ok()) << verify(b.list).failure().text;
}

TEST(Fuse, NotWhenTheValueBetweenHasAnotherReader) {
  Builder b;
  const auto src = b.s(64), w = b.s(16), mid = b.t(64), dst = b.s(64), other = b.s(64);
  b.op(conv1x1(), {reading(src, img(1, 4, 4, 4)), reading(w, View::contiguous(DType::F32, {4, 1, 1, 4})),
                   writing(mid, img(1, 4, 4, 4))})
      .op(relu(), {reading(mid, img(1, 4, 4, 4)), writing(dst, img(1, 4, 4, 4))})
      .op(relu(), {reading(mid, img(1, 4, 4, 4)), writing(other, img(1, 4, 4, 4))});
  fuseElementwise(b.list);
  EXPECT_EQ(b.list.ops.size(), 3u);
}

TEST(Fuse, NotWhenTheOtherOperandIsWrittenBetween) {
  Builder b;
  const auto src = b.s(64), w = b.s(16), mid = b.t(64), skip = b.s(64), dst = b.s(64);
  b.op(conv1x1(), {reading(src, img(1, 4, 4, 4)), reading(w, View::contiguous(DType::F32, {4, 1, 1, 4})),
                   writing(mid, img(1, 4, 4, 4))})
      .op(prim::Fill{2.f}, {writing(skip, img(1, 4, 4, 4))})
      .op(addition(), {reading(mid, img(1, 4, 4, 4)), reading(skip, img(1, 4, 4, 4)), writing(dst, img(1, 4, 4, 4))});
  fuseElementwise(b.list);
  EXPECT_EQ(b.list.ops.size(), 3u);
}

TEST(Fuse, NotUnderAPredicate) {
  Builder b;
  const auto src = b.s(64), w = b.s(16), mid = b.t(64), dst = b.s(64), flag = b.s(1);
  b.op(conv1x1(), {reading(src, img(1, 4, 4, 4)), reading(w, View::contiguous(DType::F32, {4, 1, 1, 4})),
                   writing(mid, img(1, 4, 4, 4))})
      .op(relu(), {reading(mid, img(1, 4, 4, 4)), writing(dst, img(1, 4, 4, 4))});
  b.list.predicateSets.push_back({{flag, 0}});
  b.list.ops[1].predicates = 0;
  fuseElementwise(b.list);
  EXPECT_EQ(b.list.ops.size(), 2u);
}

TEST(Fuse, NotAcrossAPartialWrite) {
  // Only half of the channels of the intermediate are read: the views differ.
  Builder b;
  const auto src = b.s(64), w = b.s(16), mid = b.t(64), dst = b.s(64);
  b.op(conv1x1(), {reading(src, img(1, 4, 4, 4)), reading(w, View::contiguous(DType::F32, {4, 1, 1, 4})),
                   writing(mid, img(1, 4, 4, 4))})
      .op(relu(), {reading(mid, img(1, 4, 4, 4).slice(3, 0, 2)), writing(dst, img(1, 4, 4, 4).slice(3, 0, 2))});
  fuseElementwise(b.list);
  EXPECT_EQ(b.list.ops.size(), 2u);
}

// --- dead work
// ------------------------------------------------------------------------------------------------------------

TEST(DropDead, RemovesWhatOnlyFeedsTheDead) {
  Builder b;
  const auto src = b.s(8), a = b.t(8), c = b.t(8), dst = b.s(8);
  b.op(relu(), {reading(src, vec(8)), writing(a, vec(8))})
      .op(relu(), {reading(a, vec(8)), writing(c, vec(8))})
      .op(relu(), {reading(src, vec(8)), writing(dst, vec(8))});
  dropDead(b.list);
  EXPECT_EQ(b.list.ops.size(), 1u);
}

TEST(DropDead, KeepsCallsAndWhatTheyRead) {
  Builder b;
  const auto src = b.s(8), a = b.t(8);
  b.op(relu(), {reading(src, vec(8)), writing(a, vec(8))}).op(prim::Call{}, {reading(a, vec(8))});
  dropDead(b.list);
  EXPECT_EQ(b.list.ops.size(), 2u);
}

// --- memory
// ---------------------------------------------------------------------------------------------------------------

TEST(Memory, ChainsShareAndOverlapsDoNot) {
  Builder b;
  const auto src = b.s(1024), t0 = b.t(1024), t1 = b.t(1024), t2 = b.t(1024), dst = b.s(1024);
  b.op(relu(), {reading(src, vec(1024)), writing(t0, vec(1024))})
      .op(relu(), {reading(t0, vec(1024)), writing(t1, vec(1024))})
      .op(relu(), {reading(t1, vec(1024)), writing(t2, vec(1024))})
      .op(relu(), {reading(t2, vec(1024)), writing(dst, vec(1024))});
  const MemoryPlan plan = planMemory(b.list);
  EXPECT_EQ(plan.sum, 3 * 4096u);
  EXPECT_EQ(plan.bytes, 2 * 4096u);
  EXPECT_EQ(plan.place[src], -1);
  EXPECT_EQ(plan.place[t0], plan.place[t2]);
  EXPECT_NE(plan.place[t0], plan.place[t1]);
}

TEST(Memory, RandomListsNeverOverlap) {
  std::uint64_t state = 42;
  const auto next = [&](std::uint64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
  };
  for (int round = 0; round < 200; ++round) {
    Builder b;
    const auto src = b.s(4096);
    std::vector<std::uint32_t> temps;
    temps.reserve(12);
    for (int i = 0; i < 12; ++i) temps.push_back(b.t(1 + next(4096)));
    for (int i = 0; i < 30; ++i) {
      const auto from = i < 12 ? src : temps[next(12)], to = temps[i < 12 ? static_cast<std::uint64_t>(i) : next(12)];
      const auto n = static_cast<std::int64_t>(std::min(b.list.storages[from].bytes, b.list.storages[to].bytes) / 4);
      b.op(prim::Copy{}, {reading(from, vec(n)), writing(to, vec(n))});
    }
    const MemoryPlan plan = planMemory(b.list);
    const Lives lives = livesOf(b.list);
    for (auto x : temps)
      for (auto y : temps) {
        if (x >= y || lives.first[x] > lives.last[y] || lives.first[y] > lives.last[x]) continue;
        const auto xEnd = plan.place[x] + static_cast<std::int64_t>(b.list.storages[x].bytes);
        const auto yEnd = plan.place[y] + static_cast<std::int64_t>(b.list.storages[y].bytes);
        ASSERT_TRUE(xEnd <= plan.place[y] || yEnd <= plan.place[x]) << "round " << round;
        ASSERT_LE(static_cast<std::size_t>(std::max(xEnd, yEnd)), plan.bytes);
      }
  }
}

/// relu(x) pooled, and the way back: diffPooled -> pooling's gradient -> relu's gradient.
class PoolWithRelu {
 public:
  Builder b;
  const View image = img(1, 8, 8, 1), small = img(1, 4, 4, 1);
  std::uint32_t x = b.s(64), y = b.t(64), pooled = b.s(16), given = b.s(16), between = b.t(64), diff = b.s(64);

  explicit PoolWithRelu(float slope = 0.f, bool backward = true) {
    prim::Elementwise neuron = relu();
    neuron.program.steps[1].p[0] = slope;
    b.op(neuron, {reading(x, image), writing(y, image)});
    prim::Pool pool;
    pool.y = pool.x = {2, 2, 1, 0};
    b.op(pool, {reading(y, image), writing(pooled, small)});
    if (!backward) return;
    pool.direction = prim::Direction::Data;
    b.op(pool, {reading(given, small), reading(y, image), writing(between, image)});
    prim::Elementwise gradient = addition();
    gradient.program.steps[2].op = prim::EwOp::NeuronGrad;
    gradient.program.steps[2].code = 1;
    gradient.program.steps[2].a = 1;
    gradient.program.steps[2].c = 0;
    gradient.program.steps[2].p[0] = slope;
    b.op(gradient, {reading(between, image), reading(x, image), writing(diff, image)});
  }
};

TEST(RectifyPools, TheRectifiedImageIsNeverWritten) {
  PoolWithRelu p;
  rectifyPools(p.b.list);
  ASSERT_EQ(p.b.list.ops.size(), 2u);
  for (const prim::Op& op : p.b.list.ops) EXPECT_TRUE(std::get<prim::Pool>(op.prim).rectified);
  const auto forward = p.b.list.argsOf(p.b.list.ops[0]), backward = p.b.list.argsOf(p.b.list.ops[1]);
  EXPECT_EQ(forward[0].storage, p.x);
  EXPECT_EQ(forward[1].storage, p.pooled);
  EXPECT_EQ(backward[0].storage, p.given);
  EXPECT_EQ(backward[1].storage, p.x);
  EXPECT_EQ(backward[2].storage, p.diff);
}

TEST(RectifyPools, LeavesWhatIsNotTheSame) {
  PoolWithRelu leaky(0.1f), inference(0.f, false), changed, read, resultRead;
  changed.b.list.ops.insert(changed.b.list.ops.begin() + 2, prim::Op{});
  const std::size_t at = changed.b.list.args.size();
  changed.b.list.args.push_back(writing(changed.x, changed.image));
  changed.b.list.ops[2].prim = prim::Fill{};
  changed.b.list.ops[2].firstArg = static_cast<std::uint32_t>(at), changed.b.list.ops[2].argCount = 1;
  read.b.op(prim::Copy{}, {reading(read.y, read.image), writing(read.b.s(64), read.image)});
  resultRead.b.op(prim::Copy{},
                  {reading(resultRead.between, resultRead.image), writing(resultRead.b.s(64), resultRead.image)});
  for (PoolWithRelu* p : {&leaky, &inference, &changed, &read, &resultRead}) {
    const std::string before = p->b.list.text();
    rectifyPools(p->b.list);
    EXPECT_EQ(p->b.list.text(), before);
  }
}

/// A weight gradient and the step that takes it; `between` reads the values before the step.
Builder productAndStep(bool between = false, bool gradientLasts = false) {
  Builder b;
  const View a = View::contiguous(DType::F32, {4, 6}), x = View::contiguous(DType::F32, {4, 5}),
             c = View::contiguous(DType::F32, {6, 5}), flat = vec(30);
  const auto given = b.s(24), image = b.s(20), gradient = gradientLasts ? b.s(30) : b.t(30), values = b.s(30),
             momentum = b.s(30);
  prim::Matmul product;
  product.transposeA = true;
  b.op(product, {reading(given, a), reading(image, x), writing(gradient, c)});
  if (between) b.op(prim::Copy{}, {reading(values, flat), writing(b.s(30), flat)});
  prim::Step step;
  step.kind = prim::StepKind::SgdMomentum;
  b.op(step, {reading(gradient, flat), reading(values, flat), changing(momentum, flat), writing(values, flat)});
  return b;
}

TEST(UpdateInProducts, TheGradientIsNeverWritten) {
  Builder b = productAndStep();
  updateInProducts(b.list);
  ASSERT_EQ(b.list.ops.size(), 1u);
  const auto& product = std::get<prim::Matmul>(b.list.ops[0].prim);
  EXPECT_TRUE(product.update);
  EXPECT_EQ(product.step.kind, prim::StepKind::SgdMomentum);
  EXPECT_EQ(b.list.ops[0].origin, 1u) << "the scalars are the step's";
  const auto args = b.list.argsOf(b.list.ops[0]);
  ASSERT_EQ(args.size(), 5u);
  EXPECT_EQ(args[2].storage, args[3].storage) << "result and values";
  EXPECT_EQ(args[4].access, Access::ReadWrite);
  EXPECT_TRUE(verify(b.list).ok());
}

TEST(UpdateInProducts, LeavesWhatSomebodySees) {
  for (Builder b : {productAndStep(true), productAndStep(false, true)}) {
    const std::string before = b.list.text();
    updateInProducts(b.list);
    EXPECT_EQ(b.list.text(), before);
  }
}

}  // namespace
}  // namespace kovar::rt
