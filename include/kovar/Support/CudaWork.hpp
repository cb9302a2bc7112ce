#pragma once
// A caller's own work on a CUDA device, and device memory that the caller owns.

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MTL/Buffer.hpp"
#include "kovar/Support/HostWork.hpp"

struct CUstream_st;

namespace kovar {

/// CUDA's cudaStream_t, without its header.
using CudaStream = CUstream_st*;

/// The memory of one operand of encodeCuda while the function runs: HostView's description with addresses of the
/// device.
using DeviceView = HostView;

/// The caller's function: puts kernels and copies on `stream`; views in the order of the operands. It must not wait for
/// the stream. What it throws, and what cudaGetLastError() says afterwards, becomes the command buffer's error.
using CudaFunction = std::function<void(CudaStream stream, std::span<const DeviceView> in, std::span<DeviceView> out)>;

/// Appends `function` to the work of the command buffer, like encodeHost, but on the device: it runs once a commit, on
/// the queue's thread with the device chosen (cudaSetDevice), and what it puts on the stream takes its place between
/// the kernels encoded before and after. Nothing is copied and nobody waits. A list that holds one is not replayed as a
/// CUDA graph. Uses up one read of each temporary image in `reads`.
///
/// Errors: a null argument, objects of another device, a device that is no CUDA device, a temporary image that is used
/// up.
void encodeCuda(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<HostOperand>& reads,
                const std::vector<HostOperand>& writes, CudaFunction function);

/// A buffer over device memory that the caller owns (from cudaMalloc, another library's tensor). The memory must stay
/// until the buffer is gone; `deallocator` is called with address and length then. contents() gives a copy in host
/// memory, as for any buffer of a CUDA device.
///
/// Errors: a null address or no bytes, a device that is no CUDA device, an address that is not of this device's memory
/// or no multiple of 16.
Ref<MTL::Buffer> newBufferOverCudaMemory(const Ref<MTL::Device>& device, void* address, std::size_t length,
                                         std::function<void(void*, std::size_t)> deallocator = nullptr);

/// An image over device memory that the caller owns: all images, rows and pixels one behind the other, the channels of
/// a pixel together and rounded up to a multiple of 4 (what lies behind the last channel must be 0), elements of the
/// descriptor's format. Everything else as newBufferOverCudaMemory.
///
/// Errors: those of newBufferOverCudaMemory and of Image's constructor.
Ref<MPS::Image> newImageOverCudaMemory(const Ref<MTL::Device>& device, const Ref<MPS::ImageDescriptor>& descriptor,
                                       void* address, std::function<void(void*, std::size_t)> deallocator = nullptr);

}  // namespace kovar
