// A user's program: it sees the installed headers only. Its argument is the version it expects to be linked with.

#include <cstdio>
#include <cstring>
#include <kovar/Error.hpp>
#include <kovar/Version.hpp>

int main(int argc, char** argv) {
  if (argc != 2 || std::strcmp(argv[1], kovar::version()) != 0) {
    std::fprintf(stderr, "linked with kovar %s\n", kovar::version());
    return 1;
  }
  return 0;
}
