#pragma once
// The whole public API.

#include "kovar/Error.hpp"
#include "kovar/MPS/MPS.hpp"
#include "kovar/MTL/MTL.hpp"
