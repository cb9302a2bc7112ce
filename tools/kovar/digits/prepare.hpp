#pragma once
// Any picture of one digit as MNIST would have it.

#include "base/io/picture.hpp"

namespace kovar::tools {

/// 28 x 28, one channel, ink bright on 0: gray; inverted when the border is brighter than the rest; the box around the
/// ink scaled to fit 20 x 20 and placed so that its centre of mass is the picture's centre. A picture without ink is
/// all 0. A picture of 28 x 28 with a dark border is taken as it is.
base::io::Picture prepareDigit(const base::io::Picture& picture);

}  // namespace kovar::tools
