#pragma once
// Files: read whole or in parts with a limit, written whole or not at all.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kovar::base::io {

using Bytes = std::vector<std::uint8_t>;

/// An open file or the like, closed at the end of its life.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int value) : value_(value) {}
  FileDescriptor(FileDescriptor&& other) noexcept : value_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor() { close(); }

  int get() const { return value_; }
  bool valid() const { return value_ >= 0; }
  int release();
  /// Zero, or the error number of close().
  int close();

 private:
  int value_ = -1;
};

/// Reads parts of a regular file at given positions. Safe to use from several threads.
class FileReader {
 public:
  /// Fails when the path does not exist, may not be read, or is not a regular file.
  static Result<FileReader> open(const std::string& path);

  const std::string& path() const { return path_; }
  /// The size in bytes when the file was opened.
  std::uint64_t size() const { return size_; }
  /// Fills `out` from `offset` on; a file that ends before that is a failure.
  Status read(std::uint64_t offset, std::span<std::uint8_t> out) const;

 private:
  FileReader(std::string path, FileDescriptor file, std::uint64_t size);

  std::string path_;
  FileDescriptor file_;
  std::uint64_t size_;
};

/// The whole file (or pipe), refused when it holds more than `limit` bytes: no more than that is ever kept.
Result<Bytes> readFile(const std::string& path, std::uint64_t limit);

/// Writes a file so that its path shows either the old content or all of the new one, never a part, even if the
/// process is killed or the disk fills up:
///
///     KOVAR_TRY_ASSIGN(AtomicFile file, AtomicFile::create(path));
///     KOVAR_TRY(file.write(bytes));
///     KOVAR_TRY(file.commit());
///
/// The bytes go to a file in the target's folder (without a name where the file system can do that), are flushed to
/// the disk, and take the target's place in one step. Without commit(), nothing is left. An existing target keeps its
/// permissions; a symbolic link to a file stays and that file is written. Devices, pipes and /dev/stdout are written to
/// directly, as there is nothing to keep whole.
class AtomicFile {
 public:
  /// Where the new content waits. Named is what Unnamed falls back to; tests ask for it.
  enum class Staging { Unnamed, Named };

  /// Fails when the folder does not exist or may not be written to, or when the path is a folder.
  static Result<AtomicFile> create(const std::string& path, Staging staging = Staging::Unnamed);

  AtomicFile(AtomicFile&& other) noexcept = default;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  /// Appends. After a failure (a full disk) the file cannot be committed any more.
  Status write(std::span<const std::uint8_t> bytes);
  Status write(std::string_view text);

  /// Puts the file in its place. At most once.
  Status commit();

 private:
  struct Temporary {  // moved-from is empty: only one owner removes the name
    std::string name;
    Temporary() = default;
    Temporary(Temporary&& other) noexcept : name(std::move(other.name)) { other.name.clear(); }
  };

  AtomicFile() = default;
  Failure failure(std::string_view action, int error) const;
  Status giveName();

  std::string path_;     // as the caller wrote it, for messages
  std::string target_;   // behind symbolic links
  Temporary temporary_;  // the name beside the target; empty while the file has none
  FileDescriptor file_;
  bool direct_ = false;  // a device or pipe
  bool failed_ = false;
};

/// The file with exactly this content, or a failure and the file as it was.
Status writeFile(const std::string& path, std::span<const std::uint8_t> bytes);
Status writeFile(const std::string& path, std::string_view text);

}  // namespace kovar::base::io
