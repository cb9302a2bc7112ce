// kovar explain digits: which operations a run of the digit network really consists of, which implementation each one
// got, and what the implementations before it in the device's list had against it.

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/edge.hpp"
#include "kovar/Support/LossLabels.hpp"
#include "kovar/command.hpp"
#include "kovar/digits/checkpoint.hpp"
#include "kovar/digits/network.hpp"
#include "kovar/digits/picture_batch.hpp"
#include "runtime/access.hpp"
#include "runtime/execute.hpp"

namespace kovar::tools {
namespace {

struct ExplainOptions {
  std::string network = "digits", device;
  std::uint64_t batch = 40;
  bool inference = false, json = false;
};

/// A step, or a look at pictures, encoded and never committed.
Ref<MTL::CommandBuffer> encoded(const ExplainOptions& o, const Ref<MTL::Device>& device) {
  auto commands = device->newCommandQueue()->commandBuffer();
  const DigitNetwork network(device, 1e-3f);
  const PictureBatch pictures(device, o.batch);
  if (o.inference) {
    makeInferenceGraph(device, network)->encodeBatch(commands, {pictures.images()}, {});
    return commands;
  }
  const auto truth = std::make_shared<MPS::Image>(
      device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 1, 1, kDigits, o.batch,
                                                    MTL::TextureUsage::ShaderRead));
  makeTrainingGraph(device, network, o.batch, 0.5f, 0)->encodeBatch(commands, {pictures.images()}, {lossLabels(truth)});
  return commands;
}

std::string viewsOf(const rt::ListPlan& plan, std::size_t i) {
  std::string text;
  for (const prim::Arg& a : plan.list.argsOf(plan.list.ops[i])) text += (text.empty() ? "" : " ") + a.view.text();
  return text;
}

/// The same work at other places of memory.
bool alike(const rt::ListPlan& plan, std::size_t a, std::size_t b) {
  const auto x = plan.list.argsOf(plan.list.ops[a]), y = plan.list.argsOf(plan.list.ops[b]);
  return plan.plans[a]->implementation == plan.plans[b]->implementation &&
         prim::textOf(plan.list.ops[a].prim) == prim::textOf(plan.list.ops[b].prim) &&
         std::ranges::equal(x, y, [](const prim::Arg& s, const prim::Arg& t) { return s.view.dims == t.view.dims; });
}

nlohmann::ordered_json jsonOf(const rt::ListPlan& plan) {
  nlohmann::ordered_json json{{"operations_encoded", plan.stats.encoded},
                              {"operations_run", plan.stats.run},
                              {"intermediates_bytes", plan.stats.temporaryBytes},
                              {"arena_bytes", plan.stats.arenaBytes}};
  auto& operations = json["operations"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < plan.plans.size(); ++i) {
    auto refusals = nlohmann::ordered_json::array();
    for (const prim::Refusal& r : plan.plans[i]->refusals)
      refusals.push_back({{"implementation", r.implementation}, {"reason", r.reason}});
    operations.push_back({{"operation", prim::textOf(plan.list.ops[i].prim)},
                          {"arguments", viewsOf(plan, i)},
                          {"implementation", plan.plans[i]->implementation},
                          {"refusals", refusals}});
  }
  return json;
}

int explain(const ExplainOptions& o) {
  const auto device = o.device.empty() ? MTL::createSystemDefaultDevice() : MTL::deviceNamed(o.device);
  const auto commands = encoded(o, device);
  const auto state = rt::Access::state(commands);
  const auto plan = base::unwrap(rt::findOrPlan(*state->device(), state->list()));
  if (o.json) {
    fmt::print("{}\n", jsonOf(*plan).dump(1));
    return kDone;
  }
  fmt::print(
      "{} of {} {} on {} ({})\n{} operations encoded, {} run; temporaries of {:.1f} MB in an arena of {:.1f} MB\n\n",
      o.inference ? "A look" : "A training step", o.batch, o.batch == 1 ? "picture" : "pictures", device->name(),
      device->instructionSet(), plan->stats.encoded, plan->stats.run,
      static_cast<double>(plan->stats.temporaryBytes) / 1e6, static_cast<double>(plan->stats.arenaBytes) / 1e6);
  for (std::size_t i = 0; i < plan->plans.size();) {
    std::size_t next = i + 1;
    while (next < plan->plans.size() && alike(*plan, i, next)) ++next;
    fmt::print("{:3} {}{}\n    {}\n    {}\n", i + 1, plan->plans[i]->implementation,
               next - i > 1 ? fmt::format(", {} times", next - i) : std::string(), prim::textOf(plan->list.ops[i].prim),
               viewsOf(*plan, i));
    for (const prim::Refusal& r : plan->plans[i]->refusals) fmt::print("    not {}: {}\n", r.implementation, r.reason);
    i = next;
  }
  return kDone;
}

}  // namespace

void addExplain(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("explain", "Show which implementation each operation gets, and why");
  const auto o = std::make_shared<ExplainOptions>();
  command->add_option("network", o->network, "digits: the digit classifier")
      ->required()
      ->check(CLI::IsMember({"digits"}));
  command->add_option("--batch", o->batch, "Pictures at once")
      ->check(CLI::Range(std::uint64_t{1}, kMostPicturesAStep))
      ->capture_default_str();
  command->add_flag("--inference", o->inference, "Classifying instead of a training step");
  command->add_option("--device", o->device, "What kovar devices lists (default: the fastest)");
  command->add_flag("--json", o->json, "As JSON");
  command->callback([o, &context] { context.work = [o] { return explain(*o); }; });
}

}  // namespace kovar::tools
