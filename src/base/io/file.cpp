#include "base/io/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;  // Linux moves at most 2 GiB - 4 KiB a call

std::string describe(int error) {
  switch (error) {
    case ENOENT:
      return "no such file or folder";
    case ENOTDIR:
      return "a part of the path is not a folder";
    case EACCES:
    case EPERM:
      return "permission denied";
    case EISDIR:
      return "is a folder, wanted a file";
    case EROFS:
      return "the file system is read-only";
    case ENOSPC:
      return "the disk is full; free some space or choose another place";
    case EDQUOT:
      return "the disk quota is used up; free some space or choose another place";
    case EFBIG:
      return "the file would be larger than the system or the shell's limit allows (ulimit -f)";
    case EMFILE:
    case ENFILE:
      return "too many open files (ulimit -n)";
    case ENAMETOOLONG:
      return "the name is too long";
    case EPIPE:
      return "the reader of the pipe is gone";
    default:
      return std::strerror(error);
  }
}

Failure cannot(std::string_view action, const std::string& path, std::string_view why) {
  return {concat("cannot ", action, " ", inQuotes(path), ": ", why)};
}

Failure cannot(std::string_view action, const std::string& path, int error) {
  return cannot(action, path, describe(error));
}

template <class Call>
auto retryInterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

Result<FileDescriptor> openForReading(const std::string& path, struct stat& info) {
  FileDescriptor file(retryInterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file.valid() || ::fstat(file.get(), &info) != 0) return cannot("read", path, errno);
  if (S_ISDIR(info.st_mode)) return cannot("read", path, EISDIR);
  return file;
}

std::string folderOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Names that stand for an open file of this process: replacing them would not reach that file.
bool namesOpenFile(const std::string& path) {
  return path == "/dev/stdout" || path == "/dev/stderr" || path.starts_with("/dev/fd/") || path.starts_with("/proc/");
}

std::string uniqueName(const std::string& target) {
  static std::atomic<unsigned> counter{0};
  const std::string folder = folderOf(target);
  // The base name is cut so that the whole stays below the 255 bytes a name may have.
  const std::string base = target.substr(target.rfind('/') + 1).substr(0, 200);
  return concat(folder, folder == "/" ? "." : "/.", base, ".", ::getpid(), "-", counter.fetch_add(1), ".part");
}

std::string linkOfOpenFile(int file) { return concat("/proc/self/fd/", file); }

// Some network and user-space file systems cannot flush and say so; that is no reason to lose the data.
int flush(int file) { return ::fsync(file) == 0 || errno == EINVAL || errno == ENOTSUP || errno == ENOSYS ? 0 : errno; }

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    close();
    value_ = other.release();
  }
  return *this;
}

int FileDescriptor::release() {
  const int value = value_;
  value_ = -1;
  return value;
}

int FileDescriptor::close() {
  const int value = release();
  // Never retried: Linux has released the number even when it reports an interruption.
  return value >= 0 && ::close(value) != 0 && errno != EINTR ? errno : 0;
}

FileReader::FileReader(std::string path, FileDescriptor file, std::uint64_t size)
    : path_(std::move(path)), file_(std::move(file)), size_(size) {}

Result<FileReader> FileReader::open(const std::string& path) {
  struct stat info = {};
  KOVAR_TRY_ASSIGN(FileDescriptor file, openForReading(path, info));
  if (!S_ISREG(info.st_mode)) return cannot("read", path, "is a device or a pipe, wanted a file");
  return FileReader(path, std::move(file), static_cast<std::uint64_t>(info.st_size));
}

Status FileReader::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (offset > size_ || out.size() > size_ - offset) {
    return cannot("read", path_,
                  concat("it ends at byte ", size_, ", wanted bytes ", offset, " to ", offset + out.size()));
  }
  while (!out.empty()) {
    const std::size_t wanted = std::min(out.size(), kLargestTransfer);
    const ssize_t got =
        retryInterrupted([&] { return ::pread(file_.get(), out.data(), wanted, static_cast<off_t>(offset)); });
    if (got < 0) return cannot("read", path_, errno);
    if (got == 0) return cannot("read", path_, concat("it was cut to ", offset, " bytes while it was read"));
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<Bytes> readFile(const std::string& path, std::uint64_t limit) {
  limit = std::min<std::uint64_t>(limit, PTRDIFF_MAX - 1);
  const auto tooLarge = [&] {
    return cannot("read", path, concat("it is larger than the limit of ", limit, " bytes"));
  };
  struct stat info = {};
  KOVAR_TRY_ASSIGN(const FileDescriptor file, openForReading(path, info));
  // The size is a hint only: a pipe has none, and a file may grow meanwhile.
  const std::uint64_t expected = S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
  if (expected > limit) return tooLarge();
  Bytes bytes;
  std::size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) {
      // One byte more than expected, so that the end of the file shows without another allocation.
      const std::uint64_t larger =
          filled == 0 ? std::max<std::uint64_t>(expected + 1, 4096) : std::uint64_t{2} * filled;
      bytes.resize(static_cast<std::size_t>(std::min(larger, limit + 1)));
    }
    const std::size_t wanted = std::min(bytes.size() - filled, kLargestTransfer);
    const ssize_t got = retryInterrupted([&] { return ::read(file.get(), bytes.data() + filled, wanted); });
    if (got < 0) return cannot("read", path, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled > limit) return tooLarge();
  }
  bytes.resize(filled);
  return bytes;
}

Result<AtomicFile> AtomicFile::create(const std::string& path, Staging staging) {
  AtomicFile out;
  out.path_ = path;
  if (path.empty()) return cannot("write", path, "the name is empty");
  struct stat existing = {};
  const bool exists = ::stat(path.c_str(), &existing) == 0;
  if (exists && S_ISDIR(existing.st_mode)) return out.failure("write", EISDIR);
  if (path.back() == '/') return out.failure("write", EISDIR);
  if (namesOpenFile(path) || (exists && !S_ISREG(existing.st_mode))) {
    out.direct_ = true;
    out.file_ = FileDescriptor(retryInterrupted([&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC); }));
    if (!out.file_.valid()) return out.failure("write", errno);
    return out;
  }
  out.target_ = path;
  if (exists) {
    // Replacing happens in the folder, which does not ask whether the file itself may be written; people expect it to.
    if (::access(path.c_str(), W_OK) != 0) return out.failure("write", errno);
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    if (real != nullptr) out.target_ = real.get();
  }
  const std::string folder = folderOf(out.target_);
  const mode_t mode = exists ? 0600 : 0666;  // what replaces a private file is private from the start
  if (staging == Staging::Unnamed && ::access("/proc/self/fd", X_OK) == 0) {
    out.file_ = FileDescriptor(
        retryInterrupted([&] { return ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode); }));
  }
  if (!out.file_.valid()) {  // old kernels and some file systems know no unnamed files
    std::string name = uniqueName(out.target_);
    out.file_ = FileDescriptor(
        retryInterrupted([&] { return ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode); }));
    if (!out.file_.valid()) return out.failure("write", errno);
    out.temporary_.name = std::move(name);
  }
  // Some network file systems refuse this; the content matters more than the mode.
  if (exists) (void)::fchmod(out.file_.get(), existing.st_mode & 07777);
  return out;
}

AtomicFile::~AtomicFile() {
  if (!temporary_.name.empty()) ::unlink(temporary_.name.c_str());
}

Failure AtomicFile::failure(std::string_view action, int error) const { return cannot(action, path_, error); }

Status AtomicFile::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::size_t wanted = std::min(bytes.size(), kLargestTransfer);
    const ssize_t done = retryInterrupted([&] { return ::write(file_.get(), bytes.data(), wanted); });
    if (done < 0) {
      failed_ = true;
      return failure("write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

Status AtomicFile::write(std::string_view text) {
  return write(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

Status AtomicFile::giveName() {
  std::string name = uniqueName(target_);
  const std::string open = linkOfOpenFile(file_.get());
  if (::linkat(AT_FDCWD, open.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) return failure("write", errno);
  temporary_.name = std::move(name);
  return {};
}

Status AtomicFile::commit() {
  if (failed_ || !file_.valid()) return cannot("write", path_, "an earlier write failed or it is already in its place");
  failed_ = true;  // until everything has worked
  // The data must be on the disk before the name points at them, or a power cut leaves an empty file.
  if (const int error = direct_ ? 0 : flush(file_.get()); error != 0) return failure("write", error);
  if (!direct_ && temporary_.name.empty()) KOVAR_TRY(giveName());
  if (const int error = file_.close(); error != 0) return failure("write", error);
  if (direct_) return {};
  if (::rename(temporary_.name.c_str(), target_.c_str()) != 0) return failure("write", errno);
  temporary_.name.clear();
  // Makes the new name last through a power cut. The content is whole either way, so a refusal is no failure.
  const FileDescriptor folder(::open(folderOf(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.valid()) (void)::fsync(folder.get());
  return {};
}

Status writeFile(const std::string& path, std::span<const std::uint8_t> bytes) {
  KOVAR_TRY_ASSIGN(AtomicFile file, AtomicFile::create(path));
  KOVAR_TRY(file.write(bytes));
  return file.commit();
}

Status writeFile(const std::string& path, std::string_view text) {
  return writeFile(path, std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

}  // namespace kovar::base::io
