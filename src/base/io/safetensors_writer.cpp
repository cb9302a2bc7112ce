#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/io/safetensors.hpp"
#include "base/io/safetensors_header.hpp"
#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

// Keys keep the order in which they are inserted.
using Json = nlohmann::ordered_json;

// Asks the library itself, so that writing the header later cannot fail.
bool isUtf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

template <class T>
std::span<const std::uint8_t> asBytes(std::span<const T> data) {
  return {reinterpret_cast<const std::uint8_t*>(data.data()), data.size_bytes()};
}

}  // namespace

Status SafetensorsWriter::add(std::string name, TensorType type, TensorShape shape,
                              std::span<const std::uint8_t> data) {
  if (name == "__metadata__" || !isUtf8(name)) {
    return Failure{concat("cannot name a tensor ", inQuotes(name), ": wanted UTF-8 and not __metadata__")};
  }
  const std::optional<std::uint64_t> wanted = byteCount(type, shape);
  if (wanted != data.size()) {
    return Failure{concat("tensor ", inQuotes(name), " of type ", nameOf(type), " and shape ", listed(shape),
                          " is given ", data.size(), " bytes", wanted ? concat(", wanted ", *wanted) : "")};
  }
  const auto [place, fresh] = entries_.try_emplace(std::move(name), Entry{type, std::move(shape), data});
  if (!fresh) return Failure{concat("tensor ", inQuotes(place->first), " is added twice")};
  return {};
}

Status SafetensorsWriter::add(std::string name, TensorShape shape, std::span<const float> data) {
  return add(std::move(name), TensorType::F32, std::move(shape), asBytes(data));
}

Status SafetensorsWriter::add(std::string name, TensorShape shape, std::span<const std::int64_t> data) {
  return add(std::move(name), TensorType::I64, std::move(shape), asBytes(data));
}

Status SafetensorsWriter::add(std::string name, TensorShape shape, std::span<const std::uint64_t> data) {
  return add(std::move(name), TensorType::U64, std::move(shape), asBytes(data));
}

Status SafetensorsWriter::setMetadata(std::string key, std::string value) {
  if (!isUtf8(key) || !isUtf8(value)) return Failure{concat("metadata ", inQuotes(key), " is not UTF-8")};
  metadata_[std::move(key)] = std::move(value);
  return {};
}

// Wide types first, then by name: with a header padded to 8 bytes every tensor is aligned to its element.
std::vector<SafetensorsWriter::Entries::const_iterator> SafetensorsWriter::inFileOrder() const {
  std::vector<Entries::const_iterator> order;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) order.push_back(entry);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return static_cast<int>(a->second.type) > static_cast<int>(b->second.type);
  });
  return order;
}

std::string SafetensorsWriter::head(const std::vector<Entries::const_iterator>& order) const {
  Json header = Json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  std::uint64_t offset = 0;
  for (const auto& entry : order) {
    const std::uint64_t end = offset + entry->second.data.size();
    header.emplace(
        entry->first,
        Json{{"dtype", nameOf(entry->second.type)}, {"shape", entry->second.shape}, {"data_offsets", {offset, end}}});
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(text.size() >> (8 * i) & 255);
  return out + text;
}

Status SafetensorsWriter::save(const std::string& path) const {
  const auto order = inFileOrder();
  KOVAR_TRY_ASSIGN(AtomicFile file, AtomicFile::create(path));
  KOVAR_TRY(file.write(head(order)));
  for (const auto& entry : order) KOVAR_TRY(file.write(entry->second.data));
  return file.commit();
}

Bytes SafetensorsWriter::bytes() const {
  const auto order = inFileOrder();
  const std::string text = head(order);
  Bytes out(text.begin(), text.end());
  for (const auto& entry : order) out.insert(out.end(), entry->second.data.begin(), entry->second.data.end());
  return out;
}

}  // namespace kovar::base::io
