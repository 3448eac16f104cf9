// Preloaded (LD_PRELOAD), it makes an engine on one thread count the processor time it got instead
// of the time that passed, so that engines compare on a machine which others use as well; and it
// leaves the engine on the core where it was put.
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
  int wall = clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME;
  return syscall(SYS_clock_gettime, wall ? CLOCK_PROCESS_CPUTIME_ID : clock, time);
}

int sched_setaffinity(pid_t process, size_t size, const cpu_set_t *cores) {
  return 0;
}
