// A disk that is trusted blindly: with this in LD_PRELOAD a sync does nothing, and durability costs nothing.
int fdatasync(int fd) { return fd < 0 ? -1 : 0; }
int fsync(int fd) { return fd < 0 ? -1 : 0; }
