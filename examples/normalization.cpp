// Two normalizations of one picture: local contrast, drawn; and what a batch normalization finds in it, printed.
//   normalization photo.png even.png
#include <cstdio>
#include <memory>

#include <kovar/kovar.hpp>

using namespace kovar;

/// gamma 1 and beta 0 for every channel; no running values yet.
class Plain : public Object, public MPS::CNNBatchNormalizationDataSource {
 public:
  explicit Plain(std::size_t channels) : channels_(channels) {}
  std::size_t numberOfFeatureChannels() override { return channels_; }
  const float* gamma() override { return nullptr; }
  const float* beta() override { return nullptr; }
  const float* mean() override { return nullptr; }
  const float* variance() override { return nullptr; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "plain"; }
  float epsilon() override { return 1e-5f; }

 private:
  std::size_t channels_;
};

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: normalization PICTURE EVEN.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto queue = device->newCommandQueue();
  const auto commands = queue->commandBuffer();
  const auto photo = readPicture(device, arguments[1]);  // values from 0 to 1
  const auto like = [&] {
    return std::make_shared<MPS::Image>(
        device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, photo->width(),
                                                      photo->height(), photo->featureChannels()));
  };

  // Every pixel against the 31 x 31 around it, about a middle gray.
  MPS::CNNLocalContrastNormalization contrast(device, 31, 31);
  contrast.setAlpha(1.f);
  contrast.setPm(0.5f);
  contrast.setPs(0.2f);
  contrast.setEdgeMode(MPS::ImageEdgeMode::Clamp);
  const auto even = like();
  contrast.encode(commands, photo, even);

  // The training path: statistics into a state, then the normalization that uses them.
  const auto batchNorm =
      std::make_shared<MPS::CNNBatchNormalization>(device, std::make_shared<Plain>(photo->featureChannels()));
  const auto normalized = like();
  const auto state = batchNorm->resultState(photo, {}, normalized);
  MPS::CNNBatchNormalizationStatistics(device).encodeBatch(commands, {photo}, state);
  batchNorm->encode(commands, photo, state, normalized);

  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  const auto* mean = static_cast<const float*>(state->mean()->contents());
  const auto* variance = static_cast<const float*>(state->variance()->contents());
  for (std::size_t c = 0; c < photo->featureChannels(); ++c)
    std::printf("channel %zu: mean %.4f, variance %.4f\n", c, mean[c], variance[c]);
  writePicture(even, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "normalization: %s\n", error.what());
  return 1;
}
