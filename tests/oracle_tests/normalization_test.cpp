// The normalization oracles against PyTorch, and their gradients against finite differences.

#include "oracle/normalization.hpp"

#include <gtest/gtest.h>

#include "support/compare.hpp"
#include "support/finite_difference.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"

namespace kovar::oracle {
namespace {

using test::agree;
using test::GoldenCase;

constexpr double kDigits = 2e-8;  // the files hold ten digits; two box means of the contrast cancel

std::vector<GoldenCase> golden(const std::string& name) {
  return test::readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/" + name);
}

TEST(TorchGolden, LocalNormalization) {
  for (const GoldenCase& g : golden("local_normalization.txt")) {
    SCOPED_TRACE(g.name);
    LocalNorm op;
    const std::string& kind = g.word("kind");
    op.kind = kind == "cross"     ? LocalNormKind::CrossChannel
              : kind == "spatial" ? LocalNormKind::Spatial
                                  : LocalNormKind::Contrast;
    op.kernelSize = op.kernelWidth = op.kernelHeight = g.integer("kernelSize");
    op.alpha = g.number("alpha"), op.beta = g.number("beta"), op.delta = g.number("delta");
    op.p0 = g.number("p0"), op.pm = g.number("pm"), op.ps = g.number("ps");
    const Tensor& x = g.tensor("source");
    const Result y = localNormForward(op, x, Tensor(x.n, x.h, x.w, x.c));
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const Result d = localNormGradient(op, x, g.tensor("gradient"));
    EXPECT_TRUE(agree(d.value.v, g.tensor("sourceGradient").v, d.magnitude.v, kDigits));
  }
}

TEST(TorchGolden, Normalization) {
  for (const GoldenCase& g : golden("normalization.txt")) {
    SCOPED_TRACE(g.name);
    const std::string& kind = g.word("kind");
    const Tensor &x = g.tensor("source"), &dy = g.tensor("gradient");
    const bool constant = kind == "inference";
    Moments m = momentsOf(x, kind == "instance" || kind == "group", kind == "group" ? g.count("groups") : x.c);
    if (constant) m.mean = g.tensor("mean").v, m.variance = g.tensor("variance").v;
    const Affine a{g.tensor("gamma").v, g.tensor("beta").v, g.number("epsilon")};
    const Result y = normalize(a, m, x);
    EXPECT_TRUE(agree(y.value.v, g.tensor("result").v, y.magnitude.v, kDigits));
    const NormSums s = normSums(a, m, dy, x);
    const Result d = normGradient(a, m, s, dy, x, constant);
    EXPECT_TRUE(agree(d.value.v, g.tensor("sourceGradient").v, d.magnitude.v, kDigits));
    // The file has the sums over all images.
    std::vector<double> gamma(x.c), beta(x.c), scale(x.c);
    for (size_t i = 0; i < s.gamma.size(); ++i) {
      gamma[i % x.c] += s.gamma[i];
      beta[i % x.c] += s.beta[i];
      scale[i % x.c] += s.gammaMagnitude[i] + s.betaMagnitude[i];
    }
    EXPECT_TRUE(agree(gamma, g.tensor("gammaGradient").v, scale, kDigits));
    EXPECT_TRUE(agree(beta, g.tensor("betaGradient").v, scale, kDigits));
  }
}

TEST(NormalizationGradients, LocalAreDerivatives) {
  test::forCases(60, [](test::Case& c) {
    test::Random& r = c.random;
    LocalNorm op;
    op.kind = r.pick({LocalNormKind::CrossChannel, LocalNormKind::Spatial, LocalNormKind::Contrast});
    op.kernelSize = r.integer(1, 6);
    op.kernelWidth = op.kernelHeight = r.integer(1, 4);
    op.alpha = 0.7, op.beta = r.pick({0.75, 5.0}), op.p0 = 0.8, op.pm = 0.5, op.ps = 1.5;
    op.at.offset = {r.integer(-2, 2), r.integer(-2, 2), 0};
    op.at.edge = r.pick({EdgeMode::Zero, EdgeMode::Clamp});
    const Tensor x = test::randomTensor(r, 1, 3, 4, 3, {-1, 1, false});
    const Tensor g = test::randomTensor(r, 1, r.size(1, 5), r.size(1, 4), 3, {-1, 1, false});
    const std::vector<double> numeric = test::numericGradient(
        [&](const std::vector<double>& v) {
          Tensor s = x;
          s.v = v;
          return test::dot(localNormForward(op, s, Tensor(1, g.h, g.w, 3)).value.v, g.v);
        },
        x.v);
    const Tensor exact = localNormGradient(op, x, g).value;
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(exact.v[i], numeric[i], 1e-6 * (1 + std::fabs(numeric[i])));
  });
}

// The published black-box value: the corner of a 4 x 4 ramp under a window of 3 uses 66 / 9.
TEST(NormalizationGradients, DivisorIsTheWholeWindowAtTheBorder) {
  Tensor x(1, 4, 4, 1);
  for (size_t i = 0; i < 16; ++i) x.v[i] = static_cast<double>(i + 1);
  LocalNorm op;
  op.kind = LocalNormKind::Spatial;
  op.kernelWidth = op.kernelHeight = 3;
  op.delta = 0, op.beta = -1;  // D = S T
  EXPECT_NEAR(localNormForward(op, x, x).value.v[0], (1 + 4 + 25 + 36) / 9.0, 1e-12);
}

}  // namespace
}  // namespace kovar::oracle
