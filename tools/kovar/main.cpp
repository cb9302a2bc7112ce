#include "kovar/command.hpp"

int main(int count, char** arguments) { return kovar::tools::run(count, arguments); }
