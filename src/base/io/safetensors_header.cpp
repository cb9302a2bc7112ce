#include "base/io/safetensors_header.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

using Json = nlohmann::json;

struct TypeRow {
  TensorType type;
  std::string_view name;
  std::uint64_t size;
};

constexpr std::array kTypes = {
    TypeRow{TensorType::Bool, "BOOL", 1},      TypeRow{TensorType::U8, "U8", 1},
    TypeRow{TensorType::I8, "I8", 1},          TypeRow{TensorType::F8E4M3, "F8_E4M3", 1},
    TypeRow{TensorType::F8E5M2, "F8_E5M2", 1}, TypeRow{TensorType::I16, "I16", 2},
    TypeRow{TensorType::U16, "U16", 2},        TypeRow{TensorType::F16, "F16", 2},
    TypeRow{TensorType::BF16, "BF16", 2},      TypeRow{TensorType::I32, "I32", 4},
    TypeRow{TensorType::U32, "U32", 4},        TypeRow{TensorType::F32, "F32", 4},
    TypeRow{TensorType::I64, "I64", 8},        TypeRow{TensorType::U64, "U64", 8},
    TypeRow{TensorType::F64, "F64", 8},
};

const TypeRow& row(TensorType type) {
  return *std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeRow& r) { return r.type == type; });
}

constexpr std::size_t kMostDimensions = 32;  // far above any real tensor, so that headers cannot waste memory

// Receives the events of the parser and keeps track of where in the header they are. Every handler returns false, with
// the reason in `why`, where the format wants something else.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  SafetensorsHeader header;
  std::string why;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_float(number_float_t, const string_t& text) override { return unexpected("the number " + text); }
  bool number_integer(number_integer_t value) override { return unexpected(concat("the number ", value)); }
  bool binary(binary_t&) override { return unexpected("bytes"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::Offsets) {
      if (offsets_.size() == 2) return refuse(concat("data_offsets of ", current(), " hold more than two numbers"));
      offsets_.push_back(value);
      return true;
    }
    if (place_ != Place::Shape) return unexpected(concat("the number ", value));
    if (value > INT64_MAX) return refuse(concat("the shape of ", current(), " holds ", value));
    if (tensor_.shape.size() == kMostDimensions) {
      return refuse(concat(current(), " has more than ", kMostDimensions, " dimensions"));
    }
    tensor_.shape.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::Metadata) {
      header.metadata[key_] = std::move(text);
      return true;
    }
    if (place_ != Place::Tensor || key_ != "dtype") return unexpected("the text " + inQuotes(text));
    for (const TypeRow& known : kTypes) {
      if (known.name == text) {
        tensor_.type = known.type;
        return true;
      }
    }
    return refuse(concat("the dtype of ", current(), " is ", inQuotes(text), ", which is unknown; F32 is an example"));
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::Outside) {
      place_ = Place::Root;
    } else if (place_ == Place::Root && key_ == "__metadata__") {
      place_ = Place::Metadata;
    } else if (place_ == Place::Root) {
      place_ = Place::Tensor;
      tensor_ = {};
      tensor_.name = key_;
      fields_.clear();
      offsets_.clear();
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool key(string_t& text) override {
    if (place_ == Place::Tensor) {
      if (text != "dtype" && text != "shape" && text != "data_offsets") {
        return refuse(concat(current(), " has a field ", inQuotes(text), ", wanted dtype, shape and data_offsets"));
      }
      if (std::find(fields_.begin(), fields_.end(), text) != fields_.end()) {
        return refuse(concat(current(), " has its ", text, " twice"));
      }
      fields_.push_back(text);
    } else if (place_ == Place::Metadata ? header.metadata.count(text) != 0 : !names_.insert(text).second) {
      return refuse(concat("the name ", inQuotes(text), " stands there twice"));
    }
    key_ = std::move(text);
    return true;
  }

  bool end_object() override {
    if (place_ == Place::Tensor) {
      if (!finishTensor()) return false;
      place_ = Place::Root;
    } else {
      place_ = place_ == Place::Metadata ? Place::Root : Place::Outside;
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::Tensor && key_ == "shape") {
      place_ = Place::Shape;
    } else if (place_ == Place::Tensor && key_ == "data_offsets") {
      place_ = Place::Offsets;
    } else {
      return unexpected("a list");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::Tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return refuse(concat("the header is no valid JSON at byte ", position));
  }

 private:
  enum class Place { Outside, Root, Metadata, Tensor, Shape, Offsets };

  bool refuse(std::string reason) {
    why = std::move(reason);
    return false;
  }

  std::string current() const { return "tensor " + inQuotes(tensor_.name); }

  bool unexpected(const std::string& what) {
    switch (place_) {
      case Place::Outside:
        return refuse("the header is " + what + ", wanted an object");
      case Place::Root:
        return refuse(concat(inQuotes(key_), " is ", what, ", wanted an object"));
      case Place::Metadata:
        return refuse(concat("metadata ", inQuotes(key_), " is ", what, ", wanted a text"));
      case Place::Tensor:
        return refuse(concat("the ", key_, " of ", current(), " is ", what));
      case Place::Shape:
        return refuse(concat("the shape of ", current(), " holds ", what));
      case Place::Offsets:
        return refuse(concat("data_offsets of ", current(), " hold ", what));
    }
    return false;
  }

  bool finishTensor() {
    if (fields_.size() != 3) return refuse(concat(current(), " lacks one of dtype, shape and data_offsets"));
    if (offsets_.size() != 2 || offsets_[0] > offsets_[1]) {
      return refuse(concat("data_offsets of ", current(), " are ", listed(offsets_), ", wanted [begin, end]"));
    }
    const std::optional<std::uint64_t> wanted = byteCount(tensor_.type, tensor_.shape);
    const std::uint64_t given = offsets_[1] - offsets_[0];
    if (!wanted)
      return refuse(concat("the shape of ", current(), " is ", listed(tensor_.shape), ", which is too large"));
    if (given != *wanted) {
      return refuse(concat(current(), " of type ", nameOf(tensor_.type), " and shape ", listed(tensor_.shape),
                           " wants ", *wanted, " bytes, its data_offsets give ", given));
    }
    tensor_.offset = offsets_[0];
    tensor_.bytes = given;
    header.tensors.push_back(std::move(tensor_));
    return true;
  }

  Place place_ = Place::Outside;
  std::string key_;
  TensorInfo tensor_;
  std::vector<std::string> fields_;
  std::vector<std::uint64_t> offsets_;
  std::unordered_set<std::string> names_;
};

}  // namespace

std::string_view nameOf(TensorType type) { return row(type).name; }
std::uint64_t sizeOf(TensorType type) { return row(type).size; }

std::optional<std::uint64_t> byteCount(TensorType type, const TensorShape& shape) {
  std::uint64_t bytes = sizeOf(type);
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) bytes = 0;
  }
  for (const std::int64_t size : shape) {
    if (bytes != 0 && static_cast<std::uint64_t>(size) > INT64_MAX / bytes) return std::nullopt;
    bytes *= static_cast<std::uint64_t>(size);
  }
  return bytes;
}

Result<SafetensorsHeader> parseSafetensorsHeader(std::string_view json, std::uint64_t dataBytes,
                                                 std::string_view name) {
  HeaderReader reader;
  if (!Json::sax_parse(json.begin(), json.end(), &reader)) {
    return Failure{concat("cannot read ", inQuotes(name), " as safetensors: ", reader.why)};
  }
  std::vector<TensorInfo>& tensors = reader.header.tensors;
  // Empty tensors first where several begin at the same byte; the name makes the order unique.
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  std::uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != end) {
      return Failure{concat("cannot read ", inQuotes(name), " as safetensors: tensor ", inQuotes(tensor.name),
                            " begins at ", tensor.offset,
                            tensor.offset < end ? ", inside the tensor before it, wanted " : ", wanted ", end,
                            ", where the tensors before it end")};
    }
    end += tensor.bytes;
  }
  if (end != dataBytes) {
    return Failure{concat("cannot read ", inQuotes(name), " as safetensors: its tensors take ", end,
                          " bytes, the file has ", dataBytes, " for them",
                          dataBytes < end ? "; is it cut short?" : "")};
  }
  return std::move(reader.header);
}

}  // namespace kovar::base::io
