/*
 * Lets one call to the file system fail. Preloaded into a process, it counts the calls that write below a folder, all or
 * those of one kind; the n-th one fails with an error of the caller's choice and does nothing, and so do all later calls
 * of any kind if it is to last.
 * With the error 0, the process stops before that call, until it is told to go on. With the error ENOLCK, it counts the
 * calls that lock a file instead, and with ENODEV those that share a file's memory with other processes. It can list
 * the calls that it counts, and move the clock of the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char folder[PATH_MAX], kind_of_failing[PATH_MAX];
static size_t folder_length;
static long failing;
static int error_number, lasts, list = -1;
static atomic_long calls, of_the_kind;

/* The path that the current call of this thread is about. */
static __thread char about[PATH_MAX];

/* Begin to count. `pattern` is a glob for the function and the path of a call, or empty. With `number` 0, nothing fails.
 * `listing` is a file for a line about each call, or -1. */
void arm(const char *below, const char *pattern, long number, int error, int for_good, int listing) {
    list = listing;
    snprintf(kind_of_failing, sizeof kind_of_failing, "%s", pattern);
    folder_length = strlen(below);
    memcpy(folder, below, folder_length + 1);
    failing = number;
    error_number = error;
    lasts = for_good;
    atomic_store(&calls, 0);
    atomic_store(&of_the_kind, 0);
}

static atomic_long clock_shift;

/* Move the wall clock of this process by some seconds; clocks that measure how much time passes stay as they are. */
void shift_clock(long seconds) { atomic_store(&clock_shift, seconds); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && clock == CLOCK_REALTIME) now->tv_sec += atomic_load(&clock_shift);
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    if (!result) now->tv_sec += atomic_load(&clock_shift);
    return result;
}

time_t time(time_t *also) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (also) *also = now.tv_sec;
    return now.tv_sec;
}

static int is_below(const char *path) {
    if (!folder_length || !path || strncmp(path, folder, folder_length) != 0) return 0;
    snprintf(about, sizeof about, "%s", path + folder_length);
    return 1;
}

static int is_file_below(int file) {
    char link[64], path[PATH_MAX];
    if (!folder_length) return 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

enum kind { WRITES, LOCKS, MAPS };

/* Without locks or shared memory, writing works: only calls that lock or share fail then. */
static int fails_now(enum kind kind, const char *name) {
    if (kind != (error_number == ENOLCK ? LOCKS : error_number == ENODEV ? MAPS : WRITES)) return 0;
    char line[PATH_MAX + 64];
    int saved = errno, start = snprintf(line, sizeof line, "%ld ", atomic_fetch_add(&calls, 1) + 1);
    int length = start + snprintf(line + start, sizeof line - start, "%s %s", name, about);
    long call = atomic_load(&of_the_kind);
    if (!*kind_of_failing || fnmatch(kind_of_failing, line + start, FNM_PATHNAME) == 0) call = atomic_fetch_add(&of_the_kind, 1) + 1;
    else if (!lasts || call < failing) call = -1;
    line[length] = '\n';
    /* Not by `write`, which is counted. */
    if (list >= 0) syscall(SYS_write, list, line, length + 1);
    errno = saved;
    if (!failing || (lasts ? call < failing : call != failing)) return 0;
    if (!error_number) {
        raise(SIGSTOP);
        return 0;
    }
    line[start - 1] = '!';
    if (list >= 0) syscall(SYS_write, list, line + start - 1, length - start + 2);
    errno = error_number;
    return 1;
}

int fcntl64(int file, int what, ...) {
    static int (*real)(int, int, ...);
    va_list rest;
    va_start(rest, what);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (!real) real = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl64");
    int locks = what == F_SETLK || what == F_SETLKW || what == F_OFD_SETLK;
    if (locks && is_file_below(file) && fails_now(LOCKS, "lock")) return -1;
    return real(file, what, argument);
}

#define SHARES(name, offset)                                                              \
    void *name(void *at, size_t size, int protection, int flags, int file, offset from) { \
        static void *(*real)(void *, size_t, int, int, int, offset);                       \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                              \
        if ((flags & MAP_SHARED) && file >= 0 && is_file_below(file) && fails_now(MAPS, #name)) return MAP_FAILED; \
        return real(at, size, protection, flags, file, from);                              \
    }

SHARES(mmap, off_t)
SHARES(mmap64, off64_t)

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define ON_FILE(type, name, parameters, arguments)                \
    type name parameters {                                        \
        static __typeof__(&name) real;                            \
        if (!real) real = REAL(name);                             \
        if (is_file_below(file) && fails_now(WRITES, #name)) return -1;        \
        return real arguments;                                    \
    }

ON_FILE(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
ON_FILE(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
ON_FILE(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
ON_FILE(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count))
ON_FILE(ssize_t, pwritev, (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
ON_FILE(int, fsync, (int file), (file))
ON_FILE(int, fdatasync, (int file), (file))
ON_FILE(int, ftruncate, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, (int file, off64_t size), (file, size))

ssize_t copy_file_range(int from, off64_t *at, int file, off64_t *to, size_t size, unsigned flags) {
    static __typeof__(&copy_file_range) real;
    if (!real) real = REAL(copy_file_range);
    if (is_file_below(file) && fails_now(WRITES, "copy_file_range")) return -1;
    return real(from, at, file, to, size, flags);
}

#define COPIES(name, offset)                                      \
    ssize_t name(int file, int from, offset *at, size_t size) {   \
        static __typeof__(&name) real;                            \
        if (!real) real = REAL(name);                             \
        if (is_file_below(file) && fails_now(WRITES, #name)) return -1;        \
        return real(file, from, at, size);                        \
    }

ssize_t sendfile(int, int, off_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);
COPIES(sendfile, off_t)
COPIES(sendfile64, off64_t)

#define OPENS(name)                                                               \
    int name(const char *path, int flags, ...) {                                  \
        static int (*real)(const char *, int, ...);                               \
        mode_t mode = 0;                                                          \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        if (flags & (O_CREAT | O_TMPFILE)) {                                      \
            va_list rest;                                                         \
            va_start(rest, flags);                                                \
            mode = va_arg(rest, mode_t);                                          \
            va_end(rest);                                                         \
        }                                                                         \
        if ((flags & O_CREAT) && is_below(path) && fails_now(WRITES, #name)) return -1;        \
        return real(path, flags, mode);                                           \
    }

OPENS(open)
OPENS(open64)

#define CHANGES(name, parameters, arguments, path)                \
    int name parameters {                                         \
        static __typeof__(&name) real;                            \
        if (!real) real = REAL(name);                             \
        if (is_below(path) && fails_now(WRITES, #name)) return -1;             \
        return real arguments;                                    \
    }

CHANGES(rename, (const char *from, const char *to), (from, to), to)
CHANGES(link, (const char *from, const char *to), (from, to), to)
CHANGES(mkdir, (const char *path, mode_t mode), (path, mode), path)
