#pragma once
// The sheet of the gallery: captioned pictures in a grid.

#include <string>
#include <vector>

#include "base/io/picture.hpp"

namespace kovar::tools {

/// One picture of the sheet with two lines below it.
struct Tile {
  std::string title;  ///< the class
  std::string note;   ///< what it does here
  base::io::Picture picture;
};

/// The sheet, 3 channels: a heading, below it the tiles from left to right in rows. The tiles' pictures have 1 or 3
/// channels and all the same size.
base::io::Picture sheetOf(const std::string& heading, const std::string& subheading, const std::vector<Tile>& tiles);

}  // namespace kovar::tools
