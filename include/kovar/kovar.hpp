#pragma once
// The whole public API.

#include "kovar/Error.hpp"
#include "kovar/MPS/MPS.hpp"
#include "kovar/MTL/MTL.hpp"
#include "kovar/Support/CudaWork.hpp"
#include "kovar/Support/DataSources.hpp"
#include "kovar/Support/HostWork.hpp"
#include "kovar/Support/Log.hpp"
#include "kovar/Support/LossLabels.hpp"
#include "kovar/Support/Pictures.hpp"
#include "kovar/Support/Threads.hpp"
#include "kovar/Version.hpp"
