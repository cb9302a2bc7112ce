// Follows the gradient of the anchor-box loss: the predictions of a 3 x 3 grid become the one labelled box.
//   detection
#include <cmath>
#include <cstdio>
#include <memory>
#include <span>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main() try {
  constexpr std::size_t kCells = 3, kClasses = 2, kChannels = 5 + kClasses;
  const auto device = MTL::deviceNamed("cpu");  // the loss runs there
  const auto queue = device->newCommandQueue();
  const auto image = [&] {
    return std::make_shared<MPS::Image>(
        device,
        MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, kCells, kCells, kChannels));
  };
  constexpr auto kLayout = MPS::DataLayout::HeightxWidthxFeatureChannels;

  // One anchor of a cell's size. The middle cell holds a box of 1.5 x 0.8 cells, of the second class.
  const std::vector<float> anchor{1.f, 1.f};
  const auto descriptor = MPS::CNNYOLOLossDescriptor::cnnLossDescriptor(
      MPS::CNNLossType::MeanSquaredError, MPS::CNNLossType::Huber, MPS::CNNLossType::SigmoidCrossEntropy,
      MPS::CNNLossType::SoftMaxCrossEntropy, MPS::CNNReductionType::Sum, std::as_bytes(std::span(anchor)), 1);
  descriptor->setScaleObject(10.f);
  MPS::CNNYOLOLoss loss(device, descriptor);
  std::vector<float> label(kCells * kCells * kChannels);
  const std::vector<float> box{0.5f, 0.25f, 1.5f, 0.8f, 1.f, 0.f, 1.f};
  const std::size_t middle = (kCells * kCells / 2) * kChannels;
  for (std::size_t i = 0; i < box.size(); ++i) label[middle + i] = box[i];
  const auto labelImage = image();
  labelImage->writeBytes(label.data(), kLayout, 0);
  const auto labels = std::make_shared<MPS::CNNLossLabels>(device, MTL::Size{1, 1, 1}, labelImage, nullptr);

  std::vector<float> prediction(label.size()), gradient(label.size());
  const auto predictions = image(), gradients = image();
  for (int step = 0; step <= 400; ++step) {
    predictions->writeBytes(prediction.data(), kLayout, 0);
    const auto commands = queue->commandBuffer();
    loss.encode(commands, predictions, labels, gradients);
    commands->commit();
    commands->waitUntilCompleted();
    if (commands->error()) throw *commands->error();
    gradients->readBytes(gradient.data(), kLayout, 0);
    for (std::size_t i = 0; i < prediction.size(); ++i) prediction[i] -= 0.05f * gradient[i];
    float value = 0;
    labels->lossImage()->readBytes(&value, kLayout, 0);
    if (step % 200 == 0) std::printf("step %d: loss %.4f\n", step, double{value});
  }
  const float* p = &prediction[middle];
  const auto sigmoid = [](float x) { return 1 / (1 + std::exp(-x)); };
  std::printf("box at %.2f, %.2f of %.2f x %.2f cells, class %d\n", double{sigmoid(p[0])}, double{sigmoid(p[1])},
              double{std::exp(p[2])}, double{std::exp(p[3])}, p[5] > p[6] ? 0 : 1);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "detection: %s\n", error.what());
  return 1;
}
