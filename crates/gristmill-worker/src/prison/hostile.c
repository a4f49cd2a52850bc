// A hostile program: `hostile ATTACK [ARGUMENT...]` tries one thing and prints "yes" if it worked, else "no: REASON".
// Built statically by build.rs, and run both inside a sandbox and outside it, where the attack must work.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int verdict(int worked) {
    if (worked) puts("yes");
    else printf("no: %s\n", strerror(errno));
    return 0;
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file)) exit(90);
}

// --- what the host has -----------------------------------------------------------------------------------------------

static int read_path(char **arg) {
    char byte;
    int fd = open(arg[0], O_RDONLY);
    return verdict(fd >= 0 && read(fd, &byte, 1) == 1);
}

static int write_path(char **arg) {
    int fd = open(arg[0], O_WRONLY | O_CREAT, 0644);
    return verdict(fd >= 0 && write(fd, "x", 1) == 1);
}

static int replace_path(char **arg) {
    unlink(arg[0]);
    return write_path(arg);
}

static int list_path(char **arg) {
    struct dirent **entries;
    int count = scandir(arg[0], &entries, NULL, alphasort);
    if (count < 0) return verdict(0);
    for (int i = 0; i < count; i++)
        if (entries[i]->d_name[0] != '.') printf("%s ", entries[i]->d_name);
    puts("");
    return 0;
}

static int list_any(char **arg) {
    DIR *directory = opendir(arg[0]);
    return verdict(directory && readdir(directory));
}

static int mount_flags(char **arg) {
    for (; *arg; arg++) {
        struct statvfs about;
        if (statvfs(*arg, &about)) return verdict(0);
        const struct { unsigned long flag; const char *name; } names[] = {
            {ST_RDONLY, "ro"}, {ST_NOSUID, "nosuid"}, {ST_NODEV, "nodev"}, {ST_NOEXEC, "noexec"}};
        printf("%s", *arg);
        for (int i = 0; i < 4; i++)
            if (about.f_flag & names[i].flag) printf(" %s", names[i].name);
        puts("");
    }
    return 0;
}

static int read_link(char **arg) {
    char target[PATH_MAX];
    ssize_t length = readlink(arg[0], target, sizeof target);
    if (length < 0) return verdict(0);
    printf("%.*s\n", (int)length, target);
    return 0;
}

// Does not wait for what never answers.
static int connects(int fd, const void *address, socklen_t length) {
    int error = 0;
    socklen_t size = sizeof error;
    if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK)) return 0;
    if (!connect(fd, address, length)) return 1;
    if (errno != EINPROGRESS) return 0;
    struct pollfd waiting = {fd, POLLOUT, 0};
    if (poll(&waiting, 1, 500) != 1) return 0;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return !error;
}

static struct sockaddr_in internet(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton(host, &address.sin_addr);
    return address;
}

static int tcp(char **arg) {
    struct sockaddr_in address = internet(arg[1] ? arg[1] : "127.0.0.1", atoi(arg[0]));
    return verdict(connects(socket(AF_INET, SOCK_STREAM, 0), &address, sizeof address));
}

static int tcp_six(char **arg) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(arg[0])), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    return verdict(connects(socket(AF_INET6, SOCK_STREAM, 0), &address, sizeof address));
}

// Asks a name server, and waits for any answer.
static int ask_names(char **arg) {
    static const char question[] = "\0\7\1\0\0\1\0\0\0\0\0\0\7example\0\0\1\0\1";
    struct sockaddr_in address = internet("127.0.0.1", atoi(arg[0]));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || sendto(fd, question, sizeof question - 1, 0, (void *)&address, sizeof address) < 0) return verdict(0);
    struct pollfd answer = {fd, POLLIN, 0};
    return verdict(poll(&answer, 1, 500) == 1);
}

// A name that starts with @ is abstract.
static int unix_socket(char **arg) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, arg[0], sizeof address.sun_path - 1);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(arg[0]);
    if (arg[0][0] == '@') address.sun_path[0] = 0;
    else length++;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return verdict(fd >= 0 && !connect(fd, (void *)&address, length));
}

static int socket_family(char **arg) {
    return verdict(socket(atoi(arg[0]), atoi(arg[1]), atoi(arg[2])) >= 0);
}

// --- another process -------------------------------------------------------------------------------------------------

static int attach(char **arg) {
    pid_t pid = atoi(arg[0]);
    if (ptrace(PTRACE_ATTACH, pid, 0, 0)) return verdict(0);
    waitpid(pid, NULL, __WALL);
    return verdict(!ptrace(PTRACE_DETACH, pid, 0, 0));
}

static int signal_process(char **arg) { return verdict(!kill(atoi(arg[0]), atoi(arg[1]))); }

// Reads its own memory through the system call that reads others': nothing but a filter can refuse that.
static int vm_read(char **arg) {
    (void)arg;
    char from = 7, to = 0;
    struct iovec local = {&to, 1}, remote = {&from, 1};
    return verdict(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 && to == 7);
}

static int trace_child(char **arg) {
    (void)arg;
    pid_t child = fork();
    if (!child) _exit(ptrace(PTRACE_TRACEME, 0, 0, 0) ? errno : 0);
    int status;
    waitpid(child, &status, 0);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return verdict(WIFEXITED(status) && !WEXITSTATUS(status));
}

// The address of some memory of its own, and then nothing more.
static int lend_secret(char **arg) {
    static char secret[64];
    snprintf(secret, sizeof secret, "%s", arg[0]);
    printf("%p\n", (void *)secret);
    fflush(stdout);
    for (;;) pause();
    return 0;
}

static int vm_read_of(char **arg) {
    char byte = 0;
    struct iovec local = {&byte, 1}, remote = {(void *)strtoul(arg[1], NULL, 0), 1};
    return verdict(process_vm_readv(atoi(arg[0]), &local, 1, &remote, 1, 0) == 1 && byte);
}

// --- privileges ------------------------------------------------------------------------------------------------------

static int set_uid(char **arg) { return verdict(!syscall(SYS_setresuid, atoi(arg[0]), atoi(arg[0]), atoi(arg[0]))); }

static int set_id_file(char **arg) {
    int fd = open(arg[0], O_WRONLY | O_CREAT, 0755);
    struct stat status;
    if (fd < 0 || fchmod(fd, 04777)) {
        int first = errno;
        if (fd < 0 || (chmod(arg[0], 04777) && fchmodat(AT_FDCWD, arg[0], 02777, 0))) {
            errno = first;
            return verdict(0);
        }
    }
    return verdict(!fstat(fd, &status) && status.st_mode & (S_ISUID | S_ISGID));
}

static int make_node(char **arg) {
    mode_t kind = !strcmp(arg[1], "block") ? S_IFBLK : !strcmp(arg[1], "fifo") ? S_IFIFO : S_IFCHR;
    return verdict(!mknod(arg[0], kind | 0666, makedev(1, 3)));
}

// The way out of a root directory that is nothing but a change of name.
static int escape_root(char **arg) {
    char path[PATH_MAX], byte;
    int below = open(".", O_RDONLY | O_DIRECTORY);
    if (mkdir("deeper", 0700) && errno != EEXIST) return verdict(0);
    if (below < 0 || chroot("deeper") || fchdir(below)) return verdict(0);
    for (int i = 0; i < 64; i++)
        if (chdir("..")) return verdict(0);
    snprintf(path, sizeof path, ".%s", arg[0]);
    int fd = open(path, O_RDONLY);
    return verdict(fd >= 0 && read(fd, &byte, 1) == 1);
}

static int mount_tmpfs(char **arg) { return verdict(!mount("tmpfs", arg[0], "tmpfs", 0, NULL)); }
static int remount_writable(char **arg) { return verdict(!mount(NULL, arg[0], NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int unmount(char **arg) { return verdict(!umount2(arg[0], MNT_DETACH)); }
// First mounts something to do it to.
static int mount_and(char **arg) {
    const char *place = "mounted";
    if (mkdir(place, 0700) && errno != EEXIST) return verdict(0);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return verdict(0);
    if (mount("tmpfs", place, "tmpfs", MS_RDONLY, NULL)) return verdict(0);
    if (!strcmp(arg[0], "unmount")) return verdict(!umount2(place, MNT_DETACH));
    return verdict(!mount(NULL, place, NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int change_root(char **arg) { return verdict(!chroot(arg[0])); }
static int host_name(char **arg) { return verdict(!sethostname(arg[0], strlen(arg[0]))); }
static int new_namespace(char **arg) { return verdict(!unshare(strtol(arg[0], NULL, 0))); }

static int clone_namespace(char **arg) {
    long pid = syscall(SYS_clone, strtol(arg[0], NULL, 0) | SIGCHLD, 0, 0, 0, 0);
    if (!pid) _exit(0);
    return verdict(pid > 0);
}

static int clone_three(char **arg) {
    (void)arg;
    uint64_t request[11] = {0};
    request[4] = SIGCHLD;
    long pid = syscall(SYS_clone3, request, sizeof request);
    if (!pid) _exit(0);
    return verdict(pid > 0);
}

// Any call by number, with arguments: "yes" unless it fails as not there or not permitted.
static int call(char **arg) {
    long number = atol(arg[0]), a[6] = {0};
    for (int i = 0; i < 6 && arg[1 + i]; i++) a[i] = strtol(arg[1 + i], NULL, 0);
    errno = 0;
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return verdict(result >= 0 || (errno != ENOSYS && errno != EPERM && errno != EACCES));
}

static int add_key(char **arg) {
    (void)arg;
    return verdict(syscall(SYS_add_key, "user", "gristmill-test", "x", 1, -2 /* process keyring */) >= 0);
}

static int io_uring(char **arg) {
    (void)arg;
    char parameters[120] = {0};
    return verdict(syscall(SYS_io_uring_setup, 1, parameters) >= 0);
}

static int read_session_keys(char **arg) {
    (void)arg;
    int keys[64];
    return verdict(syscall(SYS_keyctl, 11 /* read */, -3 /* session keyring */, keys, sizeof keys) >= 0);
}

// A program that is in no file system.
static int execute_memory(char **arg) {
    char buffer[1 << 16];
    int from = open(arg[0], O_RDONLY), to = syscall(SYS_memfd_create, "x", 0);
    if (from < 0 || to < 0) return verdict(0);
    for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
        if (write(to, buffer, n) != n) return verdict(0);
    char *args[] = {"x", "echo", "yes", NULL}, *env[] = {NULL};
    fexecve(to, args, env);
    return verdict(0);
}

static int watch_files(char **arg) {
    int fd = syscall(SYS_inotify_init1, 0);
    return verdict(fd >= 0 && syscall(SYS_inotify_add_watch, fd, arg[0], 0xfff) >= 0);
}

static int lease_file(char **arg) {
    int fd = open(arg[0], O_RDONLY);
    return verdict(fd >= 0 && !fcntl(fd, F_SETLEASE, F_RDLCK));
}

static int set_clock(char **arg) {
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return verdict(!clock_settime(CLOCK_REALTIME, &now));
}

// Moves itself into the control group whose file is named, out of the one that limits it.
static int leave_group(char **arg) {
    int fd = open(arg[0], O_WRONLY);
    return verdict(fd >= 0 && write(fd, "0", 1) == 1);
}

static int foreign_call(char **arg) {
    (void)arg;
#ifdef __x86_64__
    int pid;
    __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20 /* getpid */) : "memory");
    printf("%s\n", pid > 0 ? "yes" : "no");
#endif
    return 0;
}

static int real_time(char **arg) {
    (void)arg;
    struct sched_param parameters = {.sched_priority = 1};
    return verdict(!sched_setscheduler(0, SCHED_FIFO, &parameters));
}

static int raise_priority(char **arg) { return verdict(!setpriority(PRIO_PROCESS, 0, atoi(arg[0]))); }

static int raise_limit(char **arg) {
    struct rlimit limit = {atoi(arg[1]), atoi(arg[1])};
    return verdict(!setrlimit(atoi(arg[0]), &limit));
}

// --- what it is given ------------------------------------------------------------------------------------------------

static int identity(char **arg) {
    (void)arg;
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } caps[2] = {0};
    struct utsname name;
    uname(&name);
    syscall(SYS_capget, &header, caps);
    int bounding = 0;
    for (int i = 0; i < 64; i++) bounding += prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1;
    printf("uid %d gid %d pid %d ppid %d session %d groups %d caps %x bounding %d nnp %d host %s\n", getuid(), getgid(),
           getpid(), getppid(), getsid(0), getgroups(0, NULL), caps[0].effective | caps[0].permitted | caps[1].permitted,
           bounding, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), name.nodename);
    return 0;
}

static int descriptors(char **arg) {
    (void)arg;
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
    puts("");
    return 0;
}

static int standard_input(char **arg) {
    (void)arg;
    char byte;
    printf("%zd\n", read(0, &byte, 1));
    return 0;
}

static int print(char **arg) {
    extern char **environ;
    for (; *arg; arg++) printf("[%s] ", *arg);
    puts("");
    char cwd[PATH_MAX];
    puts(getcwd(cwd, sizeof cwd));
    for (char **entry = environ; *entry; entry++) puts(*entry);
    fputs("to stderr\n", stderr);
    return 0;
}

static int copy_input(char **arg) {
    char buffer[4096];
    FILE *in = fopen(arg[0], "r"), *out = fopen(arg[1], "w");
    if (!in || !out) return verdict(0);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in));) fwrite(buffer, 1, n, out);
    fclose(out);
    return 0;
}

static void *count_up(void *counter) {
    __atomic_add_fetch((int *)counter, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

// What honest programs do: threads, pipes, children, own sockets, temporary files, executing themselves.
static int honest(char **arg) {
    pthread_t threads[8];
    int counter = 0, pipes[2], pair[2], status;
    char text[8] = {0}, random[16];
    for (int i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, count_up, &counter)) return 10;
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    if (counter != 8 || pipe(pipes) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 11;
    pid_t child = fork();
    if (!child) {
        dup2(pipes[1], 1);
        execl(arg[0], arg[0], "echo", "hello", NULL);
        _exit(12);
    }
    if (read(pipes[0], text, 5) != 5 || strcmp(text, "hello")) return 13;
    if (waitpid(child, &status, 0) != child || status) return 14;
    if (getentropy(random, sizeof random)) return 15;
    write_file("/tmp/a", "a");
    if (rename("/tmp/a", "/tmp/b") || mkdir("/tmp/d", 0700) || symlink("b", "/tmp/c") || mkfifo("/tmp/f", 0600)) return 16;
    if (unlink("/tmp/b") || rmdir("/tmp/d")) return 17;
    struct sockaddr_un address = {AF_UNIX, "/tmp/socket"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(server, (void *)&address, sizeof address) || listen(server, 1)) return 18;
    if (connect(client, (void *)&address, sizeof address)) return 19;
    int null = open("/dev/null", O_RDWR), device = open("/dev/urandom", O_RDONLY);
    if (write(null, "x", 1) != 1 || read(device, random, 4) != 4) return 20;
    void *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, 1 << 20, PROT_READ | PROT_EXEC)) return 21;
    if (isatty(1)) return 22;
    FILE *popened = tmpfile();
    if (!popened) return 23;
    return verdict(1);
}

static int echo(char **arg) {
    fputs(arg[0], stdout);
    return 0;
}

// --- bombs -----------------------------------------------------------------------------------------------------------

static int fork_bomb(char **arg) {
    int children = 0, most = atoi(arg[0]);
    setpgid(0, 0);
    for (pid_t child; children < most && (child = fork()) >= 0; children++)
        if (!child) {
            pause();
            _exit(0);
        }
    printf("%d\n", children);
    fflush(stdout);
    int all = children == most;
    signal(SIGTERM, SIG_IGN);
    if (arg[1]) kill(0, SIGTERM);
    return all ? 0 : 1;
}

static void *wait_for_ever(void *nothing) {
    for (;;) pause();
    return nothing;
}

static int thread_bomb(char **arg) {
    int threads = 0, most = atoi(arg[0]);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 16384);
    for (pthread_t id; threads < most && !pthread_create(&id, &small, wait_for_ever, NULL);) threads++;
    printf("%d\n", threads);
    return threads == most ? 0 : 1;
}

static int descriptor_bomb(char **arg) {
    int opened = 0, most = atoi(arg[0]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    while (opened < most && open("/dev/null", O_RDONLY) >= 0) opened++;
    return verdict(opened == most);
}

// Each process is refused a kernel buffer at some point; none is counted as its memory.
static int pipe_bomb(char **arg) {
    static char block[1 << 16];
    long long kept = 0, most = atoll(arg[0]);
    for (int ends[2]; kept < most && !pipe2(ends, O_NONBLOCK);) {
        fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
        for (ssize_t n; (n = write(ends[1], block, sizeof block)) > 0;) kept += n;
    }
    return verdict(kept >= most);
}

static int memory_bomb(char **arg) {
    size_t mebibytes = atol(arg[0]);
    for (size_t i = 0; i < mebibytes; i++) {
        char *block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, atoi(arg[1]) | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) return verdict(0) + 1;
        for (int at = 0; at < 1 << 20; at += 4096) ((volatile char *)block)[at] = 1;
        usleep(atoi(arg[2]));
    }
    return verdict(1);
}

// Each child stays below the limit; together they do not.
static int shared_memory_bomb(char **arg) {
    int children = atoi(arg[0]), status, good = 0;
    for (int i = 0; i < children; i++)
        if (!fork()) {
            volatile char *block = malloc(atol(arg[1]) << 20);
            if (!block) _exit(1);
            for (long i = 0; i < atol(arg[1]) << 20; i += 4096) block[i] = 1;
            sleep(2);
            _exit(0);
        }
    while (wait(&status) > 0) good += status == 0;
    return verdict(good == children) + (good != children);
}

// Not hostile: large, but shared by all who map it.
static int share_memory(char **arg) {
    long bytes = atol(arg[1]) << 20;
    char *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0, children = atoi(arg[0]); i < children; i++)
        if (!fork()) {
            memset(block, i, bytes);
            usleep(300000);
            _exit(0);
        }
    while (wait(NULL) > 0) {}
    return verdict(1);
}

// As little hostile: a child that borrows its parent's memory until it executes another program.
static int lend_memory(char **arg) {
    long bytes = atol(arg[0]) << 20;
    volatile char *block = malloc(bytes);
    for (long i = 0; i < bytes; i += 4096) block[i] = 1;
    if (!vfork()) {
        usleep(300000);
        _exit(0);
    }
    return verdict(1);
}

static int fill(char **arg) {
    static char block[1 << 16];
    long long total = 0, most = atoll(arg[1]);
    int fd = open(arg[0], O_WRONLY | O_CREAT, 0644);
    for (ssize_t n; total < most && (n = write(fd, block, sizeof block)) > 0;) total += n;
    printf("%lld\n", total);
    return total < most;
}

// Two files that fit one by one.
static int fill_twice(char **arg) { return fill(arg) + fill(arg + 2); }

static int inode_bomb(char **arg) {
    int made = 0, most = atoi(arg[1]);
    char path[PATH_MAX];
    for (; made < most; made++) {
        snprintf(path, sizeof path, "%s/%d", arg[0], made);
        int fd = open(path, O_WRONLY | O_CREAT, 0644);
        if (fd < 0) break;
        close(fd);
    }
    printf("%d\n", made);
    return made < most;
}

static int flood(char **arg) {
    static char block[1 << 16];
    memset(block, 'x', sizeof block);
    for (long long left = atoll(arg[1]); left > 0; left -= sizeof block)
        if (write(atoi(arg[0]), block, sizeof block) < 0) return 1;
    return 0;
}

static int sparse(char **arg) {
    int fd = open(arg[0], O_WRONLY | O_CREAT, 0644);
    signal(SIGXFSZ, SIG_IGN);
    return verdict(!ftruncate(fd, atoll(arg[1])));
}

static int burn(char **arg) {
    for (int i = 1; i < atoi(arg[0]); i++)
        if (!fork()) break;
    for (volatile unsigned n = 0;; n++) {}
    return 0;
}

// Shows that nobody stops it.
static int burn_a_while(char **arg) {
    (void)arg;
    for (time_t end = time(NULL) + 3; time(NULL) < end;) {}
    return verdict(1);
}

// --- staying alive ---------------------------------------------------------------------------------------------------

static void ignore_signals(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
}

// Leaves a process of its own session behind; its command line holds the marker it was given.
static int leave_behind(char **arg) {
    (void)arg;
    if (fork()) {
        usleep(100000);
        return 0;
    }
    setsid();
    if (fork()) _exit(0);
    ignore_signals();
    // Whoever waits for the end of the output shall not wait for this.
    for (int fd = 0; fd < 4; fd++) close(fd);
    for (;;) pause();
}

static int be_a_victim(char **arg) {
    (void)arg;
    for (;;) pause();
    return 0;
}

static int stay(char **arg) {
    (void)arg;
    ignore_signals();
    if (!fork()) {
        setsid();
        for (;;) pause();
    }
    puts("up");
    fflush(stdout);
    for (;;) pause();
    return 0;
}

// Outside nobody ends it: it stays when who started it goes.
static int left_alone(char **arg) {
    if (fork()) {
        usleep(100000);
        return 0;
    }
    for (int fd = 0; fd < 4; fd++) close(fd);
    return !strcmp(arg[0], "stay") ? stay(arg + 1) : 99;
}

// Another attempt, with something to hide.
static int keep_secret(char **arg) {
    write_file("/out/secret", arg[0]);
    for (;;) pause();
    return 0;
}

static int close_streams(char **arg) {
    close(1);
    close(2);
    close(3);
    usleep(200000);
    write_file("/out/result", arg[0]);
    return 0;
}

static int die(char **arg) {
    raise(atoi(arg[0]));
    return 0;
}

static int leave(char **arg) { return atoi(arg[0]); }

// --- tricks in /out --------------------------------------------------------------------------------------------------

static int out_links(char **arg) {
    write_file("/out/good", "good");
    mkdir("/out/dir", 0755);
    write_file("/out/dir/deep", "deep!");
    if (symlink(arg[0], "/out/to-host") || symlink("good", "/out/to-good") || symlink("/", "/out/to-root")) return 1;
    if (symlink("../..", "/out/dir/up")) return 2;
    if (mkfifo("/out/fifo", 0666) || link("/out/good", "/out/hard")) return 3;
    struct sockaddr_un address = {AF_UNIX, "/out/socket"};
    if (bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address)) return 4;
    write_file("/out/closed", "closed");
    chmod("/out/closed", 0);
    write_file("/out/new\nline", "x");
    write_file("/out/back\\slash", "x");
    write_file("/out/not-utf8-\xff", "x");
    return 0;
}

// Keeps changing a file into a link and back until it is killed.
static int out_race(char **arg) {
    mkdir("/out/swapped", 0755);
    write_file("/out/swapped/secret", "own");
    symlink(arg[0], "/out/link");
    if (!fork()) {
        setsid();
        for (;;) renameat2(AT_FDCWD, "/out/swapped", AT_FDCWD, "/out/link", RENAME_EXCHANGE);
    }
    usleep(20000);
    return 0;
}

static int out_result(char **arg) {
    const char *kind = arg[0];
    if (!strcmp(kind, "symlink")) return symlink(arg[1], "/out/result");
    if (!strcmp(kind, "fifo")) return mkfifo("/out/result", 0666);
    if (!strcmp(kind, "directory")) return mkdir("/out/result", 0777);
    FILE *file = fopen("/out/result", "w");
    for (int i = atoi(kind); i > 0; i--) fputc('r', file);
    fclose(file);
    return atoi(arg[1]);
}

static int out_many(char **arg) {
    char path[64];
    for (int i = 0; i < atoi(arg[0]); i++) {
        snprintf(path, sizeof path, "/out/%d", i);
        write_file(path, "");
    }
    return 0;
}

// Many names for one file as large as the disk allows.
static int out_multiplied(char **arg) {
    char path[64];
    write_file("/out/0", "");
    if (truncate("/out/0", atol(arg[1]))) return 2;
    for (int i = 1; i < atoi(arg[0]); i++) {
        snprintf(path, sizeof path, "/out/%d", i);
        if (link("/out/0", path)) return 1;
    }
    return 0;
}

static int out_deep(char **arg) {
    int depth = 0;
    while (depth < atoi(arg[0]) && !mkdir("d", 0755) && !chdir("d")) depth++;
    write_file("leaf", "leaf");
    printf("%d\n", depth);
    return 0;
}

// What a terminal would obey.
static int out_escapes(char **arg) {
    (void)arg;
    fputs("\x1b]0;owned\x07\x1b[2J\x1b[5n", stdout);
    return 0;
}

static int say(char **arg) {
    for (; *arg; arg++) {
        long length = strlen(*arg);
        if (!strcmp(*arg, "LONG")) {
            static char line[100000];
            memset(line, 'x', sizeof line);
            if (write(3, line, sizeof line) < 0) return 1;
        } else if (write(3, *arg, length) != length || write(3, "\n", 1) != 1) return 1;
    }
    return 0;
}

static int say_for_ever(char **arg) {
    (void)arg;
    static const char line[] = "{\"type\":\"progress\",\"done\":1}\n";
    for (;;)
        if (write(3, line, sizeof line - 1) < 0) return 1;
}

struct attack { const char *name; int (*run)(char **); };
static const struct attack attacks[] = {
    {"read", read_path}, {"write", write_path}, {"list", list_path}, {"readlink", read_link}, {"mount-flags", mount_flags}, {"tcp", tcp},
    {"unix", unix_socket}, {"family", socket_family}, {"attach", attach}, {"signal", signal_process},
    {"vm-read", vm_read}, {"trace-child", trace_child}, {"set-uid", set_uid}, {"set-id-file", set_id_file},
    {"node", make_node}, {"mount", mount_tmpfs}, {"remount", remount_writable}, {"unmount", unmount},
    {"chroot", change_root}, {"host-name", host_name}, {"unshare", new_namespace}, {"clone", clone_namespace},
    {"clone3", clone_three}, {"call", call}, {"add-key", add_key}, {"io-uring", io_uring}, {"foreign", foreign_call},
    {"real-time", real_time}, {"priority", raise_priority}, {"limit", raise_limit}, {"identity", identity},
    {"descriptors", descriptors}, {"stdin", standard_input}, {"print", print}, {"copy", copy_input},
    {"honest", honest}, {"echo", echo}, {"fork-bomb", fork_bomb}, {"thread-bomb", thread_bomb},
    {"memory-bomb", memory_bomb}, {"memory-bombs", shared_memory_bomb}, {"share-memory", share_memory}, {"lend-memory", lend_memory}, {"fill", fill}, {"fill-twice", fill_twice}, {"inode-bomb", inode_bomb},
    {"flood", flood}, {"sparse", sparse}, {"burn", burn}, {"leave-behind", leave_behind}, {"stay", stay}, {"be-a-victim", be_a_victim},
    {"close-streams", close_streams}, {"die", die}, {"leave", leave}, {"out-links", out_links},
    {"out-result", out_result}, {"out-many", out_many}, {"out-multiplied", out_multiplied}, {"out-deep", out_deep},
    {"say", say}, {"say-for-ever", say_for_ever}, {"tcp-six", tcp_six}, {"ask-names", ask_names},
    {"lend-secret", lend_secret}, {"vm-read-of", vm_read_of}, {"escape-root", escape_root},
    {"read-session-keys", read_session_keys}, {"execute-memory", execute_memory}, {"watch", watch_files},
    {"lease", lease_file}, {"clock", set_clock}, {"leave-group", leave_group}, {"descriptor-bomb", descriptor_bomb},
    {"pipe-bomb", pipe_bomb}, {"out-race", out_race}, {"keep-secret", keep_secret}, {"list-any", list_any}, {"replace", replace_path},
    {"mount-and", mount_and}, {"burn-a-while", burn_a_while}, {"left-alone", left_alone}, {"out-escapes", out_escapes},
};

static int attack(char **args) {
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++)
        if (!strcmp(attacks[i].name, args[0])) return attacks[i].run(args + 1);
    return 99;
}

// --- controls: what an attack could do if it had these rights --------------------------------------------------------

static int become_root(int namespaces) {
    char map[32];
    int uid = getuid(), gid = getgid();
    if (unshare(CLONE_NEWUSER | namespaces)) return -1;
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %d 1", gid);
    write_file("/proc/self/gid_map", map);
    return 0;
}

// As root of namespaces that are all its own.
static int as_root(char **args) {
    if (become_root(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC)) return verdict(0);
    return attack(args);
}

// In a network of its own, where a cloud's metadata service answers.
static int with_metadata(char **args) {
    if (become_root(CLONE_NEWNET)) return verdict(0);
    struct sockaddr_in address = internet("169.254.169.254", 80);
    struct ifreq request = {.ifr_name = "lo"};
    int control = socket(AF_INET, SOCK_DGRAM, 0), server = socket(AF_INET, SOCK_STREAM, 0);
    memcpy(&request.ifr_addr, &address, sizeof address);
    if (ioctl(control, SIOCSIFADDR, &request)) return verdict(0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(control, SIOCSIFFLAGS, &request)) return verdict(0);
    if (bind(server, (void *)&address, sizeof address) || listen(server, 1)) return verdict(0);
    return attack(args);
}

int main(int count, char **args) {
    if (count < 2) return 99;
    if (count > 2 && !strcmp(args[1], "as-root")) return as_root(args + 2);
    if (count > 2 && !strcmp(args[1], "with-metadata")) return with_metadata(args + 2);
    return attack(args + 1);
}
