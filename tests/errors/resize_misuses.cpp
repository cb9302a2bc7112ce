// Wrong uses of resizes, Gram matrices and local correlation, for the table of errors_test.cpp.

#include "errors/misuse.hpp"

namespace kovar::test {

std::vector<Misuse> resizeMisuses() {
  return {
      {"resize to nothing", [] { MPS::NNResizeBilinear(device(), 0, 4, false); },
       "NNResizeBilinear.resizeWidth: 0; it must lie between 1 and 16777216"},
      {"crop of nothing", [] { MPS::NNCropAndResizeBilinear(device(), 4, 4, 0, nullptr); },
       "NNCropAndResizeBilinear: no regions given; give at least one"},
      {"crops into too few images",
       [] {
         MPS::NNCropAndResizeBilinear k(device(), 4, 4, {MPS::Region{}, MPS::Region{}});
         k.encode(commands(), image(6, 6, 4), image(4, 4, 4));
       },
       "NNCropAndResizeBilinear.encode: each source image gives 2 images, the destination has 1 for 1; make it 2 and "
       "leave "
       "offset.z and clipRect's images at their defaults"},
      {"crops with an offset",
       [] {
         MPS::NNCropAndResizeBilinear k(device(), 4, 4, {MPS::Region{}});
         k.setOffset({1, 0, 0});
         k.encode(commands(), image(6, 6, 4), image(4, 4, 4));
       },
       "NNCropAndResizeBilinear.encode: regions say where to read; leave offset at its default"},
      {"grid of one channel",
       [] { MPS::NNGridSample(device()).encode(commands(), image(6, 6, 4), image(4, 4, 1), image(4, 4, 4)); },
       "NNGridSample.encode: the secondary source gives 1 feature channel; it needs two, x and y"},
      {"Gram matrix of a part",
       [] {
         MPS::NNGramMatrixCalculation k(device());
         k.setOffset({1, 0, 0});
         k.encode(commands(), image(6, 6, 4), image(4, 1, 4));
       },
       "NNGramMatrixCalculation.encode: a Gram matrix is one of whole images; leave offset and clipRect at their "
       "defaults"},
      {"Gram matrix into another size",
       [] { MPS::NNGramMatrixCalculation(device()).encode(commands(), image(6, 6, 4), image(6, 6, 4)); },
       "NNGramMatrixCalculation.encode: the destination is 6 x 6; the Gram matrix of 4 feature channels is 4 x 1"},
      {"Gram matrix gradient with another's state",
       [] {
         const auto x = image(4, 4, 4), g = image(4, 1, 4);
         MPS::NNGramMatrixCalculationGradient(device()).encode(commands(), g, x, pooling()->resultState(x, {}, x), x);
       },
       "NNGramMatrixCalculationGradient.encode: the destination shares memory with a source; no kernel works in place, "
       "use "
       "another image"},
      {"Gram matrix gradient with a pooling's state",
       [] {
         const auto x = image(4, 4, 4), g = image(4, 1, 4);
         MPS::NNGramMatrixCalculationGradient(device()).encode(commands(), g, x, pooling()->resultState(x, {}, x),
                                                               image(4, 4, 4));
       },
       "NNGramMatrixCalculationGradient: the gradient state was made by a kernel of another class; use the state of "
       "the "
       "forward NNGramMatrixCalculation"},
      {"correlation of other channels",
       [] { MPS::NNLocalCorrelation(device()).encode(commands(), image(4, 4, 4), image(4, 4, 8), image(4, 4, 1)); },
       "NNLocalCorrelation.encode: the primary source has 4 feature channels, the secondary 8; make them equal"},
      {"correlation without a stride",
       [] {
         MPS::NNLocalCorrelation(device(), 1, 1, 0, 1)
             .encode(commands(), image(4, 4, 4), image(4, 4, 4), image(4, 4, 9));
       },
       "NNLocalCorrelation.encode: a stride of 0 x 1; each must lie between 1 and 65536"},
      {"correlation over too large a window",
       [] {
         MPS::NNLocalCorrelation(device(), 65, 1, 1, 1)
             .encode(commands(), image(4, 4, 4), image(4, 4, 4), image(4, 4, 9));
       },
       "NNLocalCorrelation.encode: a window of 65 x 1; each may be 64 at most"},
  };
}

}  // namespace kovar::test
