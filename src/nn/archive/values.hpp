#pragma once
// How descriptors and other objects of kernels are written and read: one description for both directions.

#include <cstddef>
#include <memory>
#include <string>

#include "kovar/MPS/Core/Archive.hpp"

namespace kovar::MPS {
class CNNConvolutionDescriptor;
class CNNLossDescriptor;
class CNNYOLOLossDescriptor;
class ImageAllocator;
class NNNeuronDescriptor;
}  // namespace kovar::MPS

namespace kovar::nn {

class ChannelPair;

/// A property behind a getter and a setter.
template <class T, class Set>
void codeProperty(MPS::Archive& coder, const char* name, T value, Set set) {
  coder.code(name, value);
  if (coder.isReading()) set(value);
}

/// Each makes the object when it reads.
void code(MPS::Archive& coder, Ref<MPS::NNNeuronDescriptor>& descriptor);
void code(MPS::Archive& coder, Ref<MPS::CNNLossDescriptor>& descriptor);
void code(MPS::Archive& coder, Ref<MPS::CNNYOLOLossDescriptor>& descriptor);
/// Of any class of descriptors.
void code(MPS::Archive& coder, Ref<MPS::CNNConvolutionDescriptor>& descriptor);
/// One of the two default allocators; `who` begins the message that refuses to write another one.
void code(MPS::Archive& coder, Ref<MPS::ImageAllocator>& allocator, const std::string& who);
/// The two vectors in force, with as many values as channels.
void code(MPS::Archive& coder, const Ref<MTL::Device>& device, std::shared_ptr<ChannelPair>& pair, std::size_t channels,
          const char* first, const char* second);

/// Throws Error for what has no data source, as it was read; `way` is the call that gives one, or null.
void requireDataSource(bool there, const std::string& who, const char* way);

}  // namespace kovar::nn
