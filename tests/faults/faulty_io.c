/* Preloaded into a process: what can go wrong while it writes below $FAULT_FOLDER.
 *
 * FAULT_MODE=kill   the operation number $FAULT_AT is done by half, then the process is killed
 * FAULT_MODE=full   from operation $FAULT_AT on, writes find the disk full
 * FAULT_MODE=error  operation $FAULT_AT fails with EIO
 * FAULT_MODE=slow   a megabyte takes a second
 * FAULT_COUNT=FILE  the number of operations is written there at exit
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long operations;

static int below(const char *path) {
  const char *folder = getenv("FAULT_FOLDER");
  return folder && !strncmp(path, folder, strlen(folder));
}

static int mine(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return below(path);
}

/* 0: go on; 1: do half of it and die; otherwise the errno to fail with. */
static int fate(size_t bytes) {
  const char *mode = getenv("FAULT_MODE"), *at = getenv("FAULT_AT");
  long number = ++operations, wanted = at ? atol(at) : 0;
  if (!mode) return 0;
  if (!strcmp(mode, "kill")) return number == wanted;
  if (!strcmp(mode, "full")) return number >= wanted && bytes ? ENOSPC : 0;
  if (!strcmp(mode, "error")) return number == wanted ? EIO : 0;
  if (!strcmp(mode, "slow")) usleep(bytes);
  return 0;
}

#define DIE (raise(SIGKILL))

ssize_t write(int descriptor, const void *data, size_t bytes) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  int what = mine(descriptor) ? fate(bytes) : 0;
  if (what == 1) real(descriptor, data, bytes / 2), DIE;
  if (what) return errno = what, -1;
  return real(descriptor, data, bytes);
}

ssize_t pwrite64(int descriptor, const void *data, size_t bytes, off64_t at) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
  int what = mine(descriptor) ? fate(bytes) : 0;
  if (what == 1) real(descriptor, data, bytes / 2, at), DIE;
  if (what) return errno = what, -1;
  return real(descriptor, data, bytes, at);
}

int rename(const char *from, const char *to) {
  static int (*real)(const char *, const char *);
  if (!real) real = dlsym(RTLD_NEXT, "rename");
  int what = below(to) ? fate(0) : 0;
  if (what == 1) DIE;
  if (what) return errno = what, -1;
  return real(from, to);
}

int unlink(const char *path) {
  static int (*real)(const char *);
  if (!real) real = dlsym(RTLD_NEXT, "unlink");
  int what = below(path) ? fate(0) : 0;
  if (what == 1) DIE;
  if (what) return errno = what, -1;
  return real(path);
}

static void __attribute__((destructor)) tell(void) {
  const char *path = getenv("FAULT_COUNT");
  FILE *stream = path && operations ? fopen(path, "w") : NULL;
  if (stream) fprintf(stream, "%ld\n", operations), fclose(stream);
}
