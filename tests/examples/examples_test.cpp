// The programs of examples/, run as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>

#include "base/io/picture.hpp"
#include "unit/io/temporary_folder.hpp"

namespace kovar {
namespace {

using base::io::Picture;
using base::io::TemporaryFolder;
using ::testing::HasSubstr;

struct Ended {
  int status = -1;
  std::string said;  ///< on both outputs
};

Ended run(const std::string& example, const std::string& arguments) {
  const std::string command = std::string(KOVAR_EXAMPLES) + "/example_" + example + " " + arguments + " 2>&1";
  std::FILE* out = ::popen(command.c_str(), "r");
  Ended ended;
  if (!out) return ended;
  std::array<char, 256> piece;
  while (std::fgets(piece.data(), piece.size(), out)) ended.said += piece.data();
  const int status = ::pclose(out);
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

std::string cat() { return std::string(KOVAR_SOURCE_DIR) + "/tests/data/pictures/cat.png"; }

Picture read(const std::string& path) {
  auto picture = base::io::readPicture(path);
  EXPECT_TRUE(picture.ok()) << picture.failure().text;
  return picture.ok() ? *picture : Picture{};
}

/// What the filter of first_convolution gives, from 0 to 255 and not yet limited to it.
std::vector<int> edgesOf(const Picture& gray) {
  std::vector<int> edges;
  for (int y = 0; y < gray.height; ++y)
    for (int x = 0; x < gray.width; ++x) {
      const auto at = [&](int yy, int xx) {
        yy = std::clamp(yy, 0, gray.height - 1), xx = std::clamp(xx, 0, gray.width - 1);
        return static_cast<int>(gray.pixels[gray.index(xx, yy)]);
      };
      int sum = 9 * at(y, x);
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) sum -= at(y + dy, x + dx);
      edges.push_back(std::abs(sum));
    }
  return edges;
}

TEST(Examples, FirstConvolutionDrawsEdges) {
  const TemporaryFolder folder;
  const Ended ended = run("first_convolution", cat() + " " + folder.file("edges.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture drawn = read(folder.file("edges.png"));
  const Picture gray = base::io::toGray(read(cat()));
  ASSERT_EQ(drawn.channels, 1);
  ASSERT_EQ(drawn.width, gray.width);
  ASSERT_EQ(drawn.height, gray.height);
  const std::vector<int> edges = edgesOf(gray);
  for (std::size_t i = 0; i < edges.size(); ++i)
    ASSERT_NEAR(drawn.pixels[i], std::min(edges[i], 255), 1) << "pixel " << i;
}

TEST(Examples, ConvolutionDrawsBlocks) {
  const TemporaryFolder folder;
  const Ended ended = run("convolution", cat() + " " + folder.file("blocks.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  EXPECT_THAT(ended.said, HasSubstr("64 x 48 pixels in 16 x 12 blocks"));
  const Picture drawn = read(folder.file("blocks.png")), photo = read(cat());
  ASSERT_EQ(drawn.width, photo.width);
  ASSERT_EQ(drawn.height, photo.height);
  ASSERT_EQ(drawn.channels, 3);
  const auto at = [](const Picture& p, int y, int x, int c) { return static_cast<int>(p.pixels[p.index(x, y, c)]); };
  for (int y = 0; y < photo.height; ++y)
    for (int x = 0; x < photo.width; ++x)
      for (int c = 0; c < 3; ++c) {
        int sum = 0;
        for (int dy = 0; dy < 4; ++dy)
          for (int dx = 0; dx < 4; ++dx) sum += at(photo, y / 4 * 4 + dy, x / 4 * 4 + dx, c);
        ASSERT_NEAR(at(drawn, y, x, c), sum / 16.0, 1) << x << ", " << y << ", " << c;
      }
}

TEST(Examples, OwnKernelKeepsTheStrongest) {
  const TemporaryFolder folder;
  const Ended ended = run("own_kernel", cat() + " " + folder.file("drawing.png") + " 0.05");
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture drawn = read(folder.file("drawing.png"));
  const Picture gray = base::io::toGray(read(cat()));
  const std::vector<int> edges = edgesOf(gray);
  std::vector<int> sorted = edges;
  std::sort(sorted.rbegin(), sorted.rend());
  const int least = sorted[static_cast<std::size_t>(0.05 * static_cast<double>(sorted.size() - 1))];
  for (int y = 0; y < gray.height; ++y)
    for (int x = 0; x < gray.width; ++x) {
      int most = 0;
      for (int yy = std::max(0, y - 1); yy <= std::min(gray.height - 1, y + 1); ++yy)
        for (int xx = std::max(0, x - 1); xx <= std::min(gray.width - 1, x + 1); ++xx)
          most = std::max(most, edges[gray.index(xx, yy)]);
      // Edges as strong as the weakest that is kept may round to either side.
      if (most == least) continue;
      ASSERT_EQ(drawn.pixels[gray.index(x, y)], most > least ? 255 : 0) << x << ", " << y;
    }
}

TEST(Examples, NormalizationEvensOutThePictureAndPrintsItsStatistics) {
  const TemporaryFolder folder;
  const Ended ended = run("normalization", cat() + " " + folder.file("even.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture photo = read(cat()), drawn = read(folder.file("even.png"));
  ASSERT_EQ(drawn.channels, photo.channels);
  const auto channels = static_cast<std::size_t>(photo.channels);
  const auto count = static_cast<double>(photo.width) * photo.height;
  for (std::size_t c = 0; c < channels; ++c) {
    double mean = 0, squares = 0, even = 0;
    for (std::size_t i = c; i < photo.pixels.size(); i += channels) {
      mean += photo.pixels[i] / 255.0 / count;
      even += drawn.pixels[i] / 255.0 / count;
    }
    for (std::size_t i = c; i < photo.pixels.size(); i += channels)
      squares += (photo.pixels[i] / 255.0 - mean) * (photo.pixels[i] / 255.0 - mean) / count;
    std::array<char, 96> line;
    std::snprintf(line.data(), line.size(), "channel %zu: mean %.4f, variance %.4f\n", c, mean, squares);
    EXPECT_THAT(ended.said, HasSubstr(line.data()));
    EXPECT_NEAR(even, 0.5, 0.05) << "about a middle gray";
  }
}

TEST(Examples, PoolingGrowsWhatIsBrightAndMeasuresTheQuarters) {
  const TemporaryFolder folder;
  const Ended ended = run("pooling", cat() + " " + folder.file("grown.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture drawn = read(folder.file("grown.png")), gray = base::io::toGray(read(cat()));
  ASSERT_EQ(drawn.width, gray.width);
  ASSERT_EQ(drawn.height, gray.height);
  double squares[2][2] = {};
  for (int y = 0; y < gray.height; ++y)
    for (int x = 0; x < gray.width; ++x) {
      int most = 0;
      for (int dy = -2; dy <= 2; dy += 2)
        for (int dx = -2; dx <= 2; dx += 2) {
          const int yy = std::clamp(y + dy, 0, gray.height - 1), xx = std::clamp(x + dx, 0, gray.width - 1);
          most = std::max<int>(most, gray.pixels[gray.index(xx, yy)]);
        }
      const std::size_t at = gray.index(x, y);
      ASSERT_EQ(drawn.pixels[at], most) << x << ", " << y;
      const int row = y / (gray.height / 2), column = x / (gray.width / 2);
      if (row < 2 && column < 2) squares[row][column] += gray.pixels[at] / 255.0 * (gray.pixels[at] / 255.0);
    }
  double said[4] = {};
  ASSERT_EQ(std::sscanf(ended.said.c_str(), "left: %lf above, %lf below; right: %lf above, %lf below", said, said + 1,
                        said + 2, said + 3),
            4)
      << ended.said;
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(said[i], std::sqrt(squares[i % 2][i / 2]), 0.01) << i;
}

TEST(Examples, ArithmeticDrawsAMaskAndPrintsAGradient) {
  const TemporaryFolder folder;
  const Ended ended = run("arithmetic", cat() + " " + folder.file("mask.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture photo = read(cat()), drawn = read(folder.file("mask.png"));
  ASSERT_EQ(photo.channels, 3);
  ASSERT_EQ(drawn.pixels.size(), photo.pixels.size());
  std::array<double, 3> sums{};
  for (std::size_t i = 0; i < photo.pixels.size(); ++i) {
    ASSERT_EQ(drawn.pixels[i], photo.pixels[i] > 127 ? 255 : 0) << i;
    if (photo.pixels[i] > 127) sums[i % 3] += photo.pixels[i] / 255.0;
  }
  for (std::size_t c = 0; c < 3; ++c) {
    const std::size_t at = ended.said.find("channel " + std::to_string(c) + ": ");
    ASSERT_NE(at, std::string::npos) << ended.said;
    EXPECT_NEAR(std::stod(ended.said.substr(at + 11)), sums[c], 1e-5 * sums[c] + 0.01);
  }
}

TEST(Examples, PaddingFramesThePicture) {
  const TemporaryFolder folder;
  const Ended ended = run("padding", cat() + " " + folder.file("framed.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  EXPECT_THAT(ended.said, HasSubstr("the inside is the picture"));
  const Picture photo = read(cat()), drawn = read(folder.file("framed.png"));
  ASSERT_EQ(drawn.width, photo.width + 40);
  ASSERT_EQ(drawn.height, photo.height + 40);
  const auto mirrored = [](int i, int n) { return i < 0 ? -1 - i : i >= n ? 2 * n - 1 - i : i; };
  for (int y = 0; y < drawn.height; ++y)
    for (int x = 0; x < drawn.width; ++x)
      for (int c = 0; c < photo.channels; ++c)
        ASSERT_EQ(
            drawn.pixels[static_cast<std::size_t>((y * drawn.width + x) * photo.channels + c)],
            photo.pixels[static_cast<std::size_t>(
                (mirrored(y - 20, photo.height) * photo.width + mirrored(x - 20, photo.width)) * photo.channels + c)])
            << x << ", " << y;
}

TEST(Examples, UpsamplingDrawsASmoothPictureAndSaysWhatWasLost) {
  const TemporaryFolder folder;
  const Ended ended = run("upsampling", cat() + " " + folder.file("smooth.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture drawn = read(folder.file("smooth.png")), gray = base::io::toGray(read(cat()));
  const int width = gray.width / 4, height = gray.height / 4;
  ASSERT_EQ(drawn.width, 4 * width);
  ASSERT_EQ(drawn.height, 4 * height);
  double lost = 0;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      double sum = 0, squares = 0;
      for (int i = 0; i < 16; ++i) {
        const double v = gray.pixels[gray.index(4 * x + i % 4, 4 * y + i / 4)] / 255.0;
        sum += v, squares += v * v;
      }
      lost += squares - sum * sum / 16;  // from the mean, which was repeated
      const bool corner = (y == 0 || y == height - 1) && (x == 0 || x == width - 1);
      const int cy = y == 0 ? 0 : 4 * y + 3, cx = x == 0 ? 0 : 4 * x + 3;
      if (corner)
        EXPECT_NEAR(drawn.pixels[static_cast<std::size_t>(cy * 4 * width + cx)], sum / 16 * 255, 1) << "a corner";
    }
  double repeated = 0, smooth = 0;
  ASSERT_EQ(std::sscanf(ended.said.c_str(), "repeated: off by %lf\nsmooth: off by %lf", &repeated, &smooth), 2)
      << ended.said;
  EXPECT_NEAR(repeated, std::sqrt(lost / (16.0 * width * height)), 1e-3);
  EXPECT_GT(smooth, 0);
}

TEST(Examples, ResizeShrinksThePictureAndTurnsItUpsideDown) {
  const TemporaryFolder folder;
  const Ended ended = run("resize", cat() + " " + folder.file("small.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture photo = read(cat()), drawn = read(folder.file("small.png"));
  ASSERT_EQ(drawn.width, photo.width / 4);
  ASSERT_EQ(drawn.height, photo.height / 4);
  // With aligned corners the corners are those of the picture.
  const auto at = [](const Picture& p, int x, int y, int c) { return p.pixels[p.index(x, y, c)]; };
  for (int c = 0; c < photo.channels; ++c) {
    EXPECT_EQ(at(drawn, 0, 0, c), at(photo, 0, photo.height - 1, c));
    EXPECT_EQ(at(drawn, drawn.width - 1, drawn.height - 1, c), at(photo, photo.width - 1, 0, c));
  }
}

TEST(Examples, ReductionsFindTheBrightestRowAndTheStrongestChannels) {
  const Ended ended = run("reductions", cat());
  ASSERT_EQ(ended.status, 0) << ended.said;
  const Picture photo = read(cat());
  ASSERT_EQ(photo.channels, 3);
  std::array<std::size_t, 3> pixels{};
  std::vector<double> rows;
  for (int y = 0; y < photo.height; ++y) {
    double sum = 0;
    for (int x = 0; x < photo.width; ++x) {
      const auto* p = &photo.pixels[photo.index(x, y)];
      sum += (p[0] + p[1] + p[2]) / (3 * 255.0);
      ++pixels[p[0] >= p[1] && p[0] >= p[2] ? 0u : p[1] >= p[2] ? 1u : 2u];
    }
    rows.push_back(sum / photo.width);
  }
  std::array<char, 96> line;
  const auto best = std::max_element(rows.begin(), rows.end());
  std::snprintf(line.data(), line.size(), "row %td is the brightest: ", best - rows.begin());
  EXPECT_THAT(ended.said, HasSubstr(line.data()));
  std::snprintf(line.data(), line.size(), "red %zu, green %zu, blue %zu\n", pixels[0], pixels[1], pixels[2]);
  EXPECT_THAT(ended.said, HasSubstr(line.data()));
}

TEST(Examples, DetectionFindsTheBox) {
  const Ended ended = run("detection", "");
  ASSERT_EQ(ended.status, 0) << ended.said;
  double first = 0, x = 0, y = 0, w = 0, h = 0;
  int kind = -1;
  ASSERT_EQ(std::sscanf(ended.said.c_str(), "step 0: loss %lf", &first), 1) << ended.said;
  const std::size_t last = ended.said.find("step 400: loss "), box = ended.said.find("box at ");
  ASSERT_NE(last, std::string::npos) << ended.said;
  ASSERT_NE(box, std::string::npos) << ended.said;
  EXPECT_LT(std::atof(ended.said.c_str() + last + 15), first / 10);
  ASSERT_EQ(
      std::sscanf(ended.said.c_str() + box, "box at %lf, %lf of %lf x %lf cells, class %d", &x, &y, &w, &h, &kind), 5)
      << ended.said;
  EXPECT_NEAR(x, 0.5, 0.05);
  EXPECT_NEAR(y, 0.25, 0.05);
  EXPECT_NEAR(w, 1.5, 0.05);
  EXPECT_NEAR(h, 0.8, 0.05);
  EXPECT_EQ(kind, 1);
}

TEST(Examples, SavedNetworkDrawsTheSame) {
  const TemporaryFolder folder;
  const std::string network = folder.file("edges.kovar");
  const Ended ended = run("save_and_load", cat() + " " + network + " " + folder.file("edges.png"));
  ASSERT_EQ(ended.status, 0) << ended.said;
  EXPECT_EQ(ended.said, "read a graph of 'picture'; it computes the same\n");
  EXPECT_EQ(read(folder.file("edges.png")).width, (read(cat()).width + 1) / 2);
}

TEST(Examples, DigitClassifierLearns) {
  const Ended ended = run("digit_classifier", std::string(KOVAR_SOURCE_DIR) + "/data/mnist 40");
  ASSERT_EQ(ended.status, 0) << ended.said;
  double right = 0;
  const std::size_t at = ended.said.find(" % of 10000 test pictures right");
  ASSERT_NE(at, std::string::npos) << ended.said;
  const std::size_t line = ended.said.rfind('\n', at) + 1;
  ASSERT_EQ(std::sscanf(ended.said.c_str() + line, "%lf", &right), 1) << ended.said;
  EXPECT_GT(right, 80) << ended.said;
  EXPECT_THAT(ended.said, HasSubstr("step 1: loss "));
}

TEST(Examples, SayWhatIsWrong) {
  const Ended none = run("first_convolution", "");
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.said, HasSubstr("usage: first_convolution PICTURE EDGES.png"));
  for (const char* example : {"first_convolution", "own_kernel"}) {
    const Ended ended = run(example, "none.png out.png");
    EXPECT_EQ(ended.status, 1);
    EXPECT_EQ(ended.said, std::string(example) + ": cannot read 'none.png': no such file or folder\n");
  }
  const Ended data = run("digit_classifier", "/nowhere 1");
  EXPECT_EQ(data.status, 1);
  EXPECT_THAT(data.said, HasSubstr("digit_classifier: cannot read '/nowhere/train-images-idx3-ubyte.gz'"));
}

}  // namespace
}  // namespace kovar
