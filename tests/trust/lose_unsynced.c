// A disk that forgets what was not synced: with this in LD_PRELOAD, what pwrite() is given stays in the
// memory of the process until fdatasync() or fsync() of the file, so that a SIGKILL loses it as a power cut
// would.
//
// pwrite() is what journals and spools write with; whole files are written and renamed by other calls. Who reads a
// file or asks for its size sees what it was given, as from a kernel; that much of it is on the disk from then on.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct piece {
  int fd;
  off_t at;
  size_t size;
  char* bytes;
  struct piece* next;
};

static struct piece* first;
static struct piece** last = &first;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  struct piece* piece = malloc(sizeof *piece);
  if (piece == NULL || (piece->bytes = malloc(size)) == NULL) {
    errno = ENOMEM;
    return -1;
  }
  memcpy(piece->bytes, bytes, size);
  piece->fd = fd;
  piece->at = at;
  piece->size = size;
  piece->next = NULL;
  pthread_mutex_lock(&mutex);
  *last = piece;
  last = &piece->next;
  pthread_mutex_unlock(&mutex);
  return (ssize_t)size;
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off_t at) { return pwrite(fd, bytes, size, at); }

static int write_out(int fd) {
  ssize_t (*real)(int, const void*, size_t, off_t) =
      (ssize_t(*)(int, const void*, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
  int failed = 0;
  pthread_mutex_lock(&mutex);
  for (struct piece** at = &first; *at != NULL;) {
    struct piece* piece = *at;
    if (piece->fd != fd) {
      at = &piece->next;
      continue;
    }
    for (size_t done = 0; done < piece->size && !failed;) {
      const ssize_t wrote = real(fd, piece->bytes + done, piece->size - done, piece->at + (off_t)done);
      if (wrote <= 0)
        failed = 1;
      else
        done += (size_t)wrote;
    }
    *at = piece->next;
    free(piece->bytes);
    free(piece);
  }
  last = &first;
  while (*last != NULL) last = &(*last)->next;
  pthread_mutex_unlock(&mutex);
  return failed;
}

// What a file is closed with the kernel has.
int close(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
  write_out(fd);
  return real(fd);
}
int ftruncate(int fd, off_t size) {
  int (*real)(int, off_t) = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate");
  return write_out(fd) ? -1 : real(fd, size);
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int fdatasync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return write_out(fd) ? -1 : real(fd);
}
int fsync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return write_out(fd) ? -1 : real(fd);
}

ssize_t pread(int fd, void* bytes, size_t size, off_t at) {
  ssize_t (*real)(int, void*, size_t, off_t) =
      (ssize_t(*)(int, void*, size_t, off_t))dlsym(RTLD_NEXT, "pread");
  return write_out(fd) ? -1 : real(fd, bytes, size, at);
}
ssize_t pread64(int fd, void* bytes, size_t size, off_t at) { return pread(fd, bytes, size, at); }

int fstat(int fd, struct stat* status) {
  int (*real)(int, struct stat*) = (int (*)(int, struct stat*))dlsym(RTLD_NEXT, "fstat");
  return write_out(fd) ? -1 : real(fd, status);
}
int fstat64(int fd, struct stat64* status) { return fstat(fd, (struct stat*)status); }
