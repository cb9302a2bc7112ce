#pragma once
// All graph nodes.

#include "kovar/MPS/NN/CNNConvolutionNode.hpp"
#include "kovar/MPS/NN/CNNDropoutNode.hpp"
#include "kovar/MPS/NN/CNNLossNode.hpp"
#include "kovar/MPS/NN/CNNNeuronNode.hpp"
#include "kovar/MPS/NN/CNNNormalizationNode.hpp"
#include "kovar/MPS/NN/CNNPoolingNode.hpp"
#include "kovar/MPS/NN/CNNSoftMaxNode.hpp"
#include "kovar/MPS/NN/CNNUpsamplingNode.hpp"
#include "kovar/MPS/NN/NNArithmeticNode.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"
#include "kovar/MPS/NN/NNGramMatrixNode.hpp"
#include "kovar/MPS/NN/NNLossNode.hpp"
#include "kovar/MPS/NN/NNReduceNode.hpp"
#include "kovar/MPS/NN/NNReshapeNode.hpp"
