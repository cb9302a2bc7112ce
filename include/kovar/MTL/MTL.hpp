#pragma once
// Everything of the MTL namespace.

#include "kovar/MTL/Buffer.hpp"
#include "kovar/MTL/CommandBuffer.hpp"
#include "kovar/MTL/CommandQueue.hpp"
#include "kovar/MTL/Device.hpp"
#include "kovar/MTL/Event.hpp"
#include "kovar/MTL/Heap.hpp"
#include "kovar/MTL/Resource.hpp"
#include "kovar/MTL/Texture.hpp"
#include "kovar/MTL/Types.hpp"
