// Weights of a data source as float32: halves, and 8-bit codes by ranges or by a table.

#include <cstring>

#include "base/edge.hpp"
#include "maths/formats.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::nn {
namespace {

using MPS::CNNWeightsQuantizationType;

/// u of 0..255 lies between the output channel's minimum (0) and maximum (255).
void decodeRanges(const std::uint8_t* codes, const MPS::Float2* ranges, const ConvolutionShape& shape, float* to) {
  for (std::int64_t c = 0; c < shape.outputs; ++c) {
    const float least = ranges[c].x, span = ranges[c].y - ranges[c].x;
    for (std::int64_t i = 0; i < shape.taps(); ++i) *to++ = static_cast<float>(*codes++) / 255.f * span + least;
  }
}

void decodeCodes(MPS::CNNConvolutionDataSource& source, const std::uint8_t* codes, const ConvolutionShape& shape,
                 const std::string& who, std::vector<float>& to) {
  CNNWeightsQuantizationType type = source.weightsQuantizationType();
  const float* table = source.lookupTableForUInt8Kernel();
  const MPS::Float2* ranges = source.rangesForUInt8Kernel();
  // A source that does not say: what it gives decides, the table first.
  if (type == CNNWeightsQuantizationType::None && table) type = CNNWeightsQuantizationType::LookupTable;
  if (type == CNNWeightsQuantizationType::None && ranges) type = CNNWeightsQuantizationType::Linear;
  switch (type) {
    case CNNWeightsQuantizationType::Linear:
      if (!ranges)
        base::raise(who +
                    ": weightsQuantizationType() is Linear and rangesForUInt8Kernel() is null; return minimum and "
                    "maximum of each output channel");
      return decodeRanges(codes, ranges, shape, to.data());
    case CNNWeightsQuantizationType::LookupTable:
      if (!table)
        base::raise(who +
                    ": weightsQuantizationType() is LookupTable and lookupTableForUInt8Kernel() is null; return the "
                    "256 values");
      for (std::size_t i = 0; i < to.size(); ++i) to[i] = table[codes[i]];
      return;
    default:
      base::raise(who +
                  ": the data source's dataType() is UInt8 and nothing says what the codes stand for; return "
                  "rangesForUInt8Kernel() or lookupTableForUInt8Kernel()");
  }
}

}  // namespace

LoadedWeights::LoadedWeights(MPS::CNNConvolutionDataSource& source, const std::string& who) : source_(source) {
  if (!source.load())
    base::raise(who +
                ": the data source's load() returned false; it must make weights() and biasTerms() available and "
                "return true");
}

const char* nameOf(MPS::DataType type) {
  switch (type) {
    case MPS::DataType::Float32:
      return "Float32";
    case MPS::DataType::Float16:
      return "Float16";
    case MPS::DataType::UInt8:
      return "UInt8";
    case MPS::DataType::UInt32:
      return "UInt32";
    case MPS::DataType::Invalid:
      return "Invalid";
    default:
      return "another type";
  }
}

std::vector<float> decodedWeights(MPS::CNNConvolutionDataSource& source, const ConvolutionShape& shape,
                                  const std::string& who) {
  const MPS::DataType type = source.dataType();
  if (type != MPS::DataType::Float32 && type != MPS::DataType::Float16 && type != MPS::DataType::UInt8)
    base::raise(who + ": the data source's dataType() is " + nameOf(type) +
                "; weights are Float32, Float16 or UInt8 (binary convolutions alone take UInt32)");
  if (source.weightsLayout() != MPS::CNNConvolutionWeightsLayout::OHWI)
    base::raise(
        who +
        ": the data source's weightsLayout() is not OHWI; give weights as [O][kernelHeight][kernelWidth][I / groups]");
  const void* weights = source.weights();
  if (!weights)
    base::raise(who + ": the data source's weights() is null after load(); return the address of the weights");
  std::vector<float> values(static_cast<std::size_t>(shape.outputs * shape.taps()));
  if (type == MPS::DataType::Float32) {
    std::memcpy(values.data(), weights, shape.weightBytes());
  } else if (type == MPS::DataType::Float16) {
    const auto* half = static_cast<const std::uint16_t*>(weights);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = maths::floatFromHalf(half[i]);
  } else {
    decodeCodes(source, static_cast<const std::uint8_t*>(weights), shape, who, values);
  }
  return values;
}

}  // namespace kovar::nn
