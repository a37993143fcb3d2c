// A disk that fails once: with this in LD_PRELOAD, one call that writes, syncs, cuts or renames a file below a
// folder fails with EIO, the so-and-so-many-th of all processes of a role.
//
// FAIL_IO_FOLDER is the folder, FAIL_IO_CALL is ROLE:N with a role of run, learner, actor, and FAIL_IO_STATE a
// file that the processes share, which holds how many calls each role has made. To FAIL_IO_LOG goes which call
// failed, "failed fsync PATH", and every later one of the same process on a file whose sync failed: "again
// write PATH".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROLES = 3 };
static const char* const names[ROLES] = {"run", "learner", "actor"};

static const char* folder;
static long* counts;  // of each role, in the shared file; NULL where nothing is to happen
static int role = -1;
static long wanted;  // of this role; 0: none
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct stat unsynced;  // the file whose sync failed, guarded by mutex
static int is_unsynced;

__attribute__((constructor)) static void begin(void) {
  char words[512] = "";
  const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  const ssize_t size = fd < 0 ? 0 : read(fd, words, sizeof words - 1);
  if (fd >= 0) close(fd);
  const char* second = words + strlen(words) + 1;
  for (int i = 0; i < ROLES && size > 0; ++i) {
    if (strcmp(second, names[i]) == 0) role = i;
  }
  folder = getenv("FAIL_IO_FOLDER");
  const char* state = getenv("FAIL_IO_STATE");
  const char* call = getenv("FAIL_IO_CALL");
  if (role < 0 || folder == NULL || state == NULL || call == NULL) return;
  const size_t length = strlen(names[role]);
  if (strncmp(call, names[role], length) == 0 && call[length] == ':') wanted = atol(call + length + 1);
  const int shared = open(state, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  // ftruncate() is one of ours, and this is before it may be asked.
  if (shared < 0 || syscall(SYS_ftruncate, shared, (off_t)(ROLES * sizeof(long))) != 0) return;
  void* mapped = mmap(NULL, ROLES * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
  close(shared);
  if (mapped != MAP_FAILED) counts = mapped;
}

static void record(const char* how, const char* call, const char* path) {
  char line[PATH_MAX + 64];
  const int size = snprintf(line, sizeof line, "%s %s %s\n", how, call, path);
  const int fd = open(getenv("FAIL_IO_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return;
  syscall(SYS_write, fd, line, (size_t)size);
  close(fd);
}

// Whether this call is the one that fails. `file` is what it is about.
static int fails(const char* call, const char* path, const struct stat* file) {
  const size_t length = strlen(folder);
  if (strncmp(path, folder, length) != 0 || path[length] != '/') return 0;
  if (strncmp(path + length, "/logs/", 6) == 0) return 0;   // what processes print
  if (strncmp(path + length, "/pulse/", 7) == 0) return 0;  // a sign of life may get lost
  pthread_mutex_lock(&mutex);
  if (is_unsynced && file->st_dev == unsynced.st_dev && file->st_ino == unsynced.st_ino) {
    record("again", call, path);
  }
  const int fail = __atomic_add_fetch(counts + role, 1, __ATOMIC_SEQ_CST) == wanted;
  if (fail) {
    record("failed", call, path);
    if (strstr(call, "sync") != NULL) {
      unsynced = *file;
      is_unsynced = open(path, O_PATH | O_CLOEXEC) >= 0;  // kept, so that no other file gets its number
    }
  }
  pthread_mutex_unlock(&mutex);
  if (fail) errno = EIO;
  return fail;
}

static int fails_on(const char* call, int fd) {
  char link[64], path[PATH_MAX];
  struct stat file;
  if (counts == NULL) return 0;
  const int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  const int there = size > 0 && fstat(fd, &file) == 0;
  errno = before;
  if (!there) return 0;
  path[size] = '\0';
  return fails(call, path, &file);
}

static int fails_at(const char* call, const char* path) {
  char absolute[PATH_MAX];
  struct stat file;
  if (counts == NULL) return 0;
  const int before = errno;
  const int there = lstat(path, &file) == 0;
  errno = before;
  if (!there) return 0;
  if (path[0] == '/') return fails(call, path, &file);
  if (getcwd(absolute, sizeof absolute - strlen(path) - 2) == NULL) return 0;
  return fails(call, strcat(strcat(absolute, "/"), path), &file);
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void* bytes, size_t size) {
  if (fails_on("write", fd)) return -1;
  return REAL(ssize_t, write, int, const void*, size_t)(fd, bytes, size);
}
ssize_t writev(int fd, const struct iovec* parts, int count) {
  if (fails_on("write", fd)) return -1;
  return REAL(ssize_t, writev, int, const struct iovec*, int)(fd, parts, count);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  if (fails_on("write", fd)) return -1;
  return REAL(ssize_t, pwrite, int, const void*, size_t, off_t)(fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off_t at) { return pwrite(fd, bytes, size, at); }
// What stdio writes goes through no call that can be taken its place but this one.
int fflush(FILE* file) {
  if (file != NULL && fails_on("write", fileno(file))) return EOF;
  return REAL(int, fflush, FILE*)(file);
}
int fsync(int fd) { return fails_on("fsync", fd) ? -1 : REAL(int, fsync, int)(fd); }
int fdatasync(int fd) { return fails_on("fdatasync", fd) ? -1 : REAL(int, fdatasync, int)(fd); }
int ftruncate(int fd, off_t size) {
  return fails_on("truncate", fd) ? -1 : REAL(int, ftruncate, int, off_t)(fd, size);
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int truncate(const char* path, off_t size) {
  return fails_at("truncate", path) ? -1 : REAL(int, truncate, const char*, off_t)(path, size);
}
int truncate64(const char* path, off_t size) { return truncate(path, size); }
int rename(const char* from, const char* to) {
  return fails_at("rename", from) ? -1 : REAL(int, rename, const char*, const char*)(from, to);
}
