#pragma once
// Where MNIST lies and how it is read.

#include <string>

#include "base/io/idx.hpp"

namespace kovar::tools {

/// `given`, or when that is empty the first folder with the files among: data/mnist below the current folder, below the
/// folders above the program, and share/kovar/mnist of the installation. Throws Error that names the folders looked at.
std::string findMnist(const std::string& given);

/// The pictures "train" or "t10k" of a folder, from the plain files or the gzipped ones. Throws Error.
base::io::LabelledImages readMnist(const std::string& folder, const std::string& part);

}  // namespace kovar::tools
