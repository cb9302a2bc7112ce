// A mirrored frame around a picture; a slice takes it off again.
//   padding photo.png framed.png
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: padding PICTURE FRAMED.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1]);
  constexpr std::size_t kFrame = 20;

  MPS::NNPad pad(device, {kFrame, kFrame, 0}, {kFrame, kFrame, 0});
  pad.setEdgeMode(MPS::ImageEdgeMode::MirrorWithEdge);
  const auto like = [&](std::size_t more) {
    return std::make_shared<MPS::Image>(
        device, MPS::ImageDescriptor::imageDescriptor(photo->featureChannelFormat(), photo->width() + more,
                                                      photo->height() + more, photo->featureChannels()));
  };
  const auto framed = like(2 * kFrame), inner = like(0);
  pad.setOffset({-static_cast<std::ptrdiff_t>(kFrame), -static_cast<std::ptrdiff_t>(kFrame), 0});
  pad.encode(commands, photo, framed);

  MPS::NNSlice slice(device);
  slice.setOffset({kFrame, kFrame, 0});
  slice.encode(commands, framed, inner);

  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();
  // At most four bytes a value; those not read stay 0.
  const auto bytesOf = [](const Ref<MPS::Image>& image) {
    std::vector<unsigned char> values(4 * image->width() * image->height() * image->featureChannels());
    image->readBytes(values.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    return values;
  };
  std::printf("%zu x %zu framed, the inside is %s\n", framed->width(), framed->height(),
              bytesOf(photo) == bytesOf(inner) ? "the picture" : "another");
  writePicture(framed, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "padding: %s\n", error.what());
  return 1;
}
