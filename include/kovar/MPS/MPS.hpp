#pragma once
// Everything of the MPS namespace.

#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "kovar/MPS/Core/Matrix.hpp"
#include "kovar/MPS/Core/MatrixRandom.hpp"
#include "kovar/MPS/NN/CNNConvolution.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNFullyConnected.hpp"
#include "kovar/MPS/NN/CNNLoss.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "kovar/MPS/NN/NNGraph.hpp"
#include "kovar/MPS/NN/NNGraphNodes.hpp"
#include "kovar/MPS/NN/NNOptimizers.hpp"
