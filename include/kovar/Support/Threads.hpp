#pragma once

namespace kovar {

/// How many threads the CPU device computes with, the one that runs a queue included. 0 restores the default: as many
/// as this process may use. Results have the same bits for any number. Takes effect with the next command buffer; call
/// it while none runs. Throws Error for a negative count.
void setThreadCount(int count);

/// The number in force.
int threadCount();

}  // namespace kovar
