// kovar explain.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using ::testing::HasSubstr;

TEST(Explain, NamesTheImplementationOfEveryOperation) {
  for (const bool inference : {false, true}) {
    std::vector<std::string> words{"explain", "digits", "--batch", "3", "--device", "cpu"};
    if (inference) words.emplace_back("--inference");
    const Outcome text = run(words);
    ASSERT_EQ(text.status, 0) << text.err;
    EXPECT_THAT(text.out, HasSubstr(inference ? "A look of 3 pictures" : "A training step of 3 pictures"));
    words.emplace_back("--json");
    const Outcome outcome = run(words);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const auto json = nlohmann::json::parse(outcome.out);
    const auto& operations = json.at("operations");
    EXPECT_EQ(operations.size(), json.at("operations_run").get<std::size_t>());
    EXPECT_LT(operations.size(), json.at("operations_encoded").get<std::size_t>()) << "nothing was fused";
    std::size_t convolutions = 0, steps = 0;
    for (const auto& o : operations) {
      const std::string implementation = o.at("implementation");
      EXPECT_THAT(implementation, ::testing::StartsWith("cpu:"));
      EXPECT_THAT(text.out, HasSubstr(implementation));
      for (const auto& r : o.at("refusals")) {
        EXPECT_NE(r.at("implementation"), implementation);
        EXPECT_THAT(text.out, HasSubstr("not " + r.at("implementation").get<std::string>() + ": " +
                                        r.at("reason").get<std::string>()));
      }
      convolutions += implementation.starts_with("cpu:conv:");
      steps += implementation.starts_with("cpu:step:");
    }
    // Forward both, backward the sources of the second and the weights of both.
    EXPECT_GE(convolutions, inference ? 2u : 5u);
    if (inference) EXPECT_EQ(steps, 0u);
  }
}

TEST(Explain, RefusesWhatItDoesNotKnow) {
  expectRefused(run({"explain", "cats"}), 2, {"cats not in {digits}"});
  expectRefused(run({"explain"}), 2, {"network is required"});
  expectRefused(run({"explain", "digits", "--batch", "0"}), 2, {"--batch: Value 0 not in range 1 to 10000"});
}

}  // namespace
}  // namespace kovar::tools
