/* A program for tests: it sleeps, alone or with workers, in the foreground or in the background.
 *
 * mutant [workers] [background PIDFILE] [library]
 *
 * SIGHUP makes one with workers execute itself again; then it has new workers.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *version = VERSION;
#ifdef LIBRARY
extern const char *library_version(void);
#endif
static volatile sig_atomic_t reload;

static void on_hangup(int number)
{
    (void)number;
    reload = 1;
}

int main(int count, char **arguments)
{
    int workers = 0;
    pid_t worker = 0;
    sigset_t hangup, before;
    for (int at = 1; at < count; at++) {
        if (strcmp(arguments[at], "workers") == 0)
            workers = 1;
        if (strcmp(arguments[at], "background") == 0) {
            pid_t child = fork();
            if (child > 0) {
                FILE *file = fopen(arguments[at + 1], "w");
                fprintf(file, "%d\n", child);
                return fclose(file);
            }
            setsid();
        }
    }
#ifdef LIBRARY
    version = library_version();
#endif
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hangup, &before);
    sigdelset(&before, SIGHUP);
    signal(SIGHUP, on_hangup);
    if (workers && (worker = fork()) == 0) {
        signal(SIGHUP, SIG_DFL);
        for (;;)
            pause();
    }
    for (;;) {
        sigsuspend(&before);
        if (reload && workers) {
            kill(worker, SIGKILL);
            waitpid(worker, NULL, 0);
            execv(arguments[0], arguments);
            return 1;
        }
    }
}
