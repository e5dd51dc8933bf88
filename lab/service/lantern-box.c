/* A substitute for the packaged service: it serves a health probe, and can be built to fail.
 *
 * VERSION    its version, a string.
 * CRASHES    it panics at its start.
 * UNHEALTHY  it starts, but its probe reports that it does not work.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PORT 8899

static void log_line(const char *text) {
    fprintf(stderr, "lantern-box: %s\n", text);
}

static void require_config(const char *path) {
    FILE *config = fopen(path, "r");
    if (config == NULL) {
        fprintf(stderr, "lantern-box: cannot read the configuration %s: %s\n", path,
                strerror(errno));
        exit(1);
    }
    fclose(config);
}

static void panic(void) {
    fputs("panic: runtime error: invalid memory address or nil pointer dereference\n"
          "[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x8d1f4c]\n"
          "\n"
          "goroutine 1 [running]:\n"
          "main.(*router).attach(0x0, {0xc0000b2000, 0x4})\n"
          "\tlantern-box/router.go:118 +0x2c\n",
          stderr);
    abort();
}

static int listen_on(int port) {
    int on = 1;
    struct sockaddr_in address = {0};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0) {
        return -1;
    }
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    address.sin_port = htons(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 64) < 0) {
        return -1;
    }
    return listener;
}

static void answer(int client, const char *status, const char *body) {
    char text[512];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          status, strlen(body), body);
    if (write(client, text, (size_t)length) < 0) {
        log_line("the client closed the connection");
    }
}

/* Read the whole head of the request: closing with unread data would reset the connection. */
static void read_request(int client, char *request, size_t size) {
    size_t length = 0;
    request[0] = '\0';
    while (length < size - 1 && strstr(request, "\r\n\r\n") == NULL) {
        ssize_t more = read(client, request + length, size - 1 - length);
        if (more <= 0) {
            return;
        }
        length += (size_t)more;
        request[length] = '\0';
    }
}

static void serve(int client) {
    char request[4096];
    struct timeval timeout = {.tv_sec = 5};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    read_request(client, request, sizeof request);
    if (strncmp(request, "GET /healthz ", 13) != 0) {
        answer(client, "404 Not Found", "{\"error\":\"not found\"}");
        return;
    }
#ifdef UNHEALTHY
    answer(client, "503 Service Unavailable",
           "{\"status\":\"unhealthy\",\"version\":\"" VERSION "\","
           "\"reason\":\"no upstream answers\"}");
#else
    answer(client, "200 OK", "{\"status\":\"ok\",\"version\":\"" VERSION "\"}");
#endif
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("lantern-box " VERSION);
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "--config") != 0) {
        log_line("usage: lantern-box --config FILE");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    log_line("version " VERSION " starts");
    require_config(argv[2]);
#ifdef CRASHES
    panic();
#else
    (void)panic;
#endif
    int listener = listen_on(PORT);
    if (listener < 0) {
        fprintf(stderr, "lantern-box: cannot listen on port %d: %s\n", PORT, strerror(errno));
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            continue;
        }
        serve(client);
        close(client);
    }
}
