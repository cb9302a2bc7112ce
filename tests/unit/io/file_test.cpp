#include "base/io/file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "io/temporary_folder.hpp"

namespace kovar::base::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string contentOf(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void put(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

// Runs `body` in a process of its own, which may change its limits and user, and gives what it returned.
std::string inChild(const std::function<std::string()>& body) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string said = body();
    const ssize_t done = ::write(ends[1], said.data(), said.size());
    ::_exit(done == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said;
  char part[512];
  for (ssize_t got; (got = ::read(ends[0], part, sizeof part)) > 0;) said.append(part, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? said : "killed by a signal";
}

// The same as a user who may write nothing but what is open to all.
std::string asNobody(const std::function<std::string()>& body) {
  return inChild([&] {
    if (::geteuid() == 0 && ::setuid(65534) != 0) return std::string("cannot change the user");
    return body();
  });
}

std::string textOf(const Status& status) { return status.ok() ? "ok" : status.failure().text; }

TEST(ReadFile, GivesEveryByte) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 100'000u}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 7 % 251);
    put(folder.file("data"), content);
    const Result<Bytes> bytes = readFile(folder.file("data"), size);
    ASSERT_TRUE(bytes.ok()) << bytes.failure().text;
    EXPECT_EQ(std::string(bytes->begin(), bytes->end()), content);
  }
}

TEST(ReadFile, ReadsPipesUpToTheLimit) {
  const TemporaryFolder folder;
  const std::string pipe = folder.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto send = [&](std::size_t size) {
    return std::thread([pipe, size] {
      ::signal(SIGPIPE, SIG_IGN);
      put(pipe, std::string(size, 'x'));
    });
  };
  std::thread first = send(20'000);
  const Result<Bytes> whole = readFile(pipe, 20'000);
  first.join();
  ASSERT_TRUE(whole.ok()) << whole.failure().text;
  EXPECT_EQ(whole->size(), 20'000u);
  std::thread second = send(20'000);
  const Result<Bytes> refused = readFile(pipe, 19'999);
  second.join();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.failure().text, "cannot read '" + pipe + "': it is larger than the limit of 19999 bytes");
}

TEST(ReadFile, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  put(folder.file("data"), "12345");
  const auto text = [&](const std::string& name, std::uint64_t limit = 100) {
    const Result<Bytes> bytes = readFile(folder.file(name), limit);
    return bytes.ok() ? "ok" : bytes.failure().text;
  };
  EXPECT_EQ(text("data", 5), "ok");
  EXPECT_EQ(text("data", 4), "cannot read '" + folder.file("data") + "': it is larger than the limit of 4 bytes");
  EXPECT_EQ(text("none"), "cannot read '" + folder.file("none") + "': no such file or folder");
  EXPECT_EQ(text("data/inside"),
            "cannot read '" + folder.file("data/inside") + "': a part of the path is not a folder");
  EXPECT_EQ(text("."), "cannot read '" + folder.file(".") + "': is a folder, wanted a file");
  EXPECT_EQ(text("two\nlines"), "cannot read '" + folder.file("two?lines") + "': no such file or folder");
}

TEST(FileReader, ReadsPartsAndChecksTheEnd) {
  const TemporaryFolder folder;
  const std::string path = folder.file("data");
  put(path, "0123456789");
  Result<FileReader> reader = FileReader::open(path);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->size(), 10u);
  Bytes part(4);
  ASSERT_TRUE(reader->read(6, part).ok());
  EXPECT_EQ(std::string(part.begin(), part.end()), "6789");
  EXPECT_EQ(textOf(reader->read(7, part)), "cannot read '" + path + "': it ends at byte 10, wanted bytes 7 to 11");
  EXPECT_FALSE(reader->read(UINT64_MAX, part).ok());
  ASSERT_EQ(::truncate(path.c_str(), 7), 0);
  EXPECT_EQ(textOf(reader->read(6, part)), "cannot read '" + path + "': it was cut to 7 bytes while it was read");
  EXPECT_THAT(FileReader::open("/dev/null").failure().text, HasSubstr("is a device or a pipe"));
}

class AtomicFileTest : public ::testing::TestWithParam<AtomicFile::Staging> {
 protected:
  Result<AtomicFile> create(const std::string& path) { return AtomicFile::create(path, GetParam()); }
  Status save(const std::string& path, std::string_view text) {
    KOVAR_TRY_ASSIGN(AtomicFile file, create(path));
    KOVAR_TRY(file.write(text));
    return file.commit();
  }

  const TemporaryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(Staging, AtomicFileTest,
                         ::testing::Values(AtomicFile::Staging::Unnamed, AtomicFile::Staging::Named),
                         [](const auto& tested) {
                           return tested.param == AtomicFile::Staging::Unnamed ? "Unnamed" : "Named";
                         });

TEST_P(AtomicFileTest, CommitShowsTheNewContent) {
  const std::string path = folder_.file("weights");
  put(path, "old");
  Result<AtomicFile> file = create(path);
  ASSERT_TRUE(file.ok()) << file.failure().text;
  ASSERT_TRUE(file->write("new ").ok());
  ASSERT_TRUE(file->write("content").ok());
  EXPECT_EQ(contentOf(path), "old");
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(contentOf(path), "new content");
  EXPECT_THAT(folder_.names(), ElementsAre("weights"));
  EXPECT_THAT(textOf(file->commit()), HasSubstr("already in its place"));
}

TEST_P(AtomicFileTest, WithoutCommitNothingIsLeft) {
  put(folder_.file("kept"), "old");
  for (const char* name : {"kept", "fresh"}) {
    Result<AtomicFile> file = create(folder_.file(name));
    ASSERT_TRUE(file.ok());
    AtomicFile moved = std::move(*file);
    ASSERT_TRUE(moved.write("half").ok());
  }
  EXPECT_EQ(contentOf(folder_.file("kept")), "old");
  EXPECT_THAT(folder_.names(), ElementsAre("kept"));
}

TEST_P(AtomicFileTest, KeepsPermissionsAndSymbolicLinks) {
  put(folder_.file("real"), "old");
  ASSERT_EQ(::chmod(folder_.file("real").c_str(), 0640), 0);
  ASSERT_EQ(::symlink("real", folder_.file("link").c_str()), 0);
  ASSERT_TRUE(save(folder_.file("link"), "new").ok());
  EXPECT_EQ(contentOf(folder_.file("real")), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder_.file("link")));
  struct stat info = {};
  ASSERT_EQ(::stat(folder_.file("real").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  const mode_t before = ::umask(0027);
  ASSERT_TRUE(save(folder_.file("fresh"), "new").ok());
  ::umask(before);
  ASSERT_EQ(::stat(folder_.file("fresh").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST_P(AtomicFileTest, RelativePathsWork) {
  EXPECT_EQ(inChild([&] {
              if (::chdir(folder_.path().c_str()) != 0) return std::string("no folder");
              return textOf(save("relative", "here"));
            }),
            "ok");
  EXPECT_EQ(contentOf(folder_.file("relative")), "here");
}

TEST_P(AtomicFileTest, SaysWhyItCannotWrite) {
  put(folder_.file("plain"), "x");
  EXPECT_EQ(textOf(save(folder_.path(), "x")), "cannot write '" + folder_.path() + "': is a folder, wanted a file");
  EXPECT_EQ(textOf(save(folder_.file("none/file"), "x")),
            "cannot write '" + folder_.file("none/file") + "': no such file or folder");
  EXPECT_EQ(textOf(save(folder_.file("plain/file"), "x")),
            "cannot write '" + folder_.file("plain/file") + "': a part of the path is not a folder");
  EXPECT_EQ(textOf(save(folder_.file("new/"), "x")),
            "cannot write '" + folder_.file("new/") + "': is a folder, wanted a file");
  EXPECT_EQ(textOf(save("", "x")), "cannot write '': the name is empty");
}

TEST_P(AtomicFileTest, UnwritableFoldersAndFilesAreRefused) {
  ASSERT_EQ(::mkdir(folder_.file("locked").c_str(), 0555), 0);
  put(folder_.file("protected"), "old");
  ASSERT_EQ(::chmod(folder_.file("protected").c_str(), 0444), 0);
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  const std::string locked = folder_.file("locked/file");
  EXPECT_EQ(asNobody([&] { return textOf(save(locked, "x")); }), "cannot write '" + locked + "': permission denied");
  const std::string file = folder_.file("protected");
  EXPECT_EQ(asNobody([&] { return textOf(save(file, "x")); }), "cannot write '" + file + "': permission denied");
  EXPECT_EQ(contentOf(file), "old");
}

TEST_P(AtomicFileTest, AFileThatCannotGrowLeavesTheOldOne) {
  const std::string path = folder_.file("weights");
  put(path, "old");
  const std::string said = inChild([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {10'000, 10'000};
    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) return std::string("no limit");
    Result<AtomicFile> file = create(path);
    if (!file.ok()) return file.failure().text;
    const std::string first = textOf(file->write(std::string(20'000, 'x')));
    return first + "\n" + textOf(file->commit());
  });
  EXPECT_EQ(said, "cannot write '" + path +
                      "': the file would be larger than the system or the shell's limit allows (ulimit -f)\n" +
                      "cannot write '" + path + "': an earlier write failed or it is already in its place");
  EXPECT_EQ(contentOf(path), "old");
  EXPECT_THAT(folder_.names(), ElementsAre("weights"));
}

TEST_P(AtomicFileTest, AFullDiskIsSaidInOneLine) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  // Not as root: an AtomicFile that is wrong would replace the device by a file, and stay so for everybody.
  EXPECT_EQ(asNobody([&] { return textOf(save("/dev/full", "x")); }),
            "cannot write '/dev/full': the disk is full; free some space or choose another place");
}

TEST_P(AtomicFileTest, PipesReceiveTheBytes) {
  const std::string pipe = folder_.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::string received;
  std::thread reader([&] { received = contentOf(pipe); });
  const Status saved = save(pipe, "through");
  reader.join();
  EXPECT_TRUE(saved.ok()) << textOf(saved);
  EXPECT_EQ(received, "through");
}

// A process saves over and over and is killed at any moment after its first save: the file is one of the versions,
// whole.
TEST_P(AtomicFileTest, KillingTheProcessLeavesAWholeFile) {
  constexpr std::size_t kSize = 200'000;
  constexpr int kRounds = 25;
  const std::string path = folder_.file("weights");
  const auto identity = [&] {
    struct stat info = {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
  };
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(save(path, std::string(kSize, 'a')).ok());
  const auto oneSave = std::chrono::steady_clock::now() - begin;
  for (int round = 0; round < kRounds; ++round) {
    const ino_t before = identity();
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 0;; ++i) {
        Result<AtomicFile> file = create(path);
        if (!file.ok()) ::_exit(1);
        const std::string content(kSize, static_cast<char>('a' + i % 26));
        for (std::size_t at = 0; at < kSize; at += 1000) {
          if (!file->write(std::string_view(content).substr(at, 1000)).ok()) ::_exit(1);
        }
        if (!file->commit().ok()) ::_exit(1);
      }
    }
    int status = 0;
    while (identity() == before && ::waitpid(child, &status, WNOHANG) == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    std::this_thread::sleep_for(oneSave * round / kRounds);
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child could not save";
    const std::string content = contentOf(path);
    ASSERT_EQ(content.size(), kSize) << "round " << round;
    ASSERT_EQ(content, std::string(kSize, content[0])) << "round " << round;
  }
  if (GetParam() == AtomicFile::Staging::Unnamed) {
    // Only a kill in the few microseconds between naming and renaming can leave a second file.
    EXPECT_LE(folder_.names().size(), 3u);
  }
}

TEST(WriteFile, RoundTrip) {
  const TemporaryFolder folder;
  const Bytes bytes = {0, 255, 10, 13, 0};
  ASSERT_TRUE(writeFile(folder.file("a"), bytes).ok());
  ASSERT_TRUE(writeFile(folder.file("b"), "text").ok());
  EXPECT_EQ(*readFile(folder.file("a"), 100), bytes);
  EXPECT_EQ(contentOf(folder.file("b")), "text");
}

}  // namespace
}  // namespace kovar::base::io
