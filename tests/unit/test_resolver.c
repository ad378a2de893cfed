/*
 * The parent against processes that die, hang or talk nonsense (this program once more, playing
 * them), and the real resolver process against a parent that does.
 */
#include "base/monotonic.h"
#include "dane/process.h"
#include "dane/resolver_internal.h"
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char self_path[4096];

static const char anchor_text[] =
    "test. DS 1 13 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n";
static char anchor_path[] = "/tmp/danemsg-anchor-XXXXXX";

/* ========================================================================== playing the process */

static struct dmsg_channel channel;

static _Noreturn void sleep_for_ever(void)
{
    for (;;)
        pause();
}

static void send_raw(const void *octets, size_t size)
{
    (void)!write(DMSG_PROCESS_FD, octets, size);
}

static void send_all(void)
{
    (void)!dmsg_channel_flush(&channel, NULL);
}

/* Open descriptors, environment and blocked or ignored signals, as text. */
static void describe_self(char *out, size_t size)
{
    size_t used = 0;
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder))
            used += (size_t)snprintf(out + used, size - used, "fd%s ", entry->d_name);
    }
    closedir(folder);
    for (char **variable = environ; *variable != NULL; variable++) {
        if (strstr(*variable, "SECRET") != NULL)
            used += (size_t)snprintf(out + used, size - used, "%s ", *variable);
    }
    sigset_t blocked;
    struct sigaction action;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigaction(SIGPIPE, NULL, &action);
    if (sigismember(&blocked, SIGUSR1))
        used += (size_t)snprintf(out + used, size - used, "blocked ");
    if (action.sa_handler == SIG_IGN)
        snprintf(out + used, size - used, "ignored ");
}

/* A good answer, whose record is the text. */
static void send_answer(uint32_t id, const char *text)
{
    struct dmsg_answer answer = {
        .status = DMSG_DNS_SECURE, .ttl = 300, .count = 1, .records = {dmsg_span_text(text)}};
    struct dmsg_buffer body = {0};
    dmsg_answer_put(&body, &answer);
    dmsg_frame_put(&channel.out, DMSG_FRAME_ANSWER, id, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
    send_all();
}

static bool first_time(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void misbehave(const char *how, const char *argument, const struct dmsg_frame *frame)
{
    char name[300] = "";
    if (frame->body.size < sizeof name)
        memcpy(name, frame->body.data, frame->body.size);
    if (strcmp(how, "die-once") == 0 && first_time(argument))
        _exit(7);
    if (strcmp(how, "die-on") == 0 && strncmp(name, "poison", 6) == 0)
        abort();
    if (strcmp(how, "die") == 0) {
        FILE *file = fopen(argument, "a"); /* one octet for every question */
        if (file != NULL && fputc('.', file) != EOF)
            fclose(file);
        _exit(7);
    }
    if (strcmp(how, "hang-once") == 0 && first_time(argument))
        sleep_for_ever();
    if (strcmp(how, "hang") == 0)
        sleep_for_ever();
    if (strcmp(how, "rubbish") == 0)
        send_raw("GET / HTTP/1.0\r\n\r\n", 18);
    if (strcmp(how, "huge") == 0)
        send_raw("\x7f\xff\xff\xff", 4);
    if (strcmp(how, "half") == 0) {
        send_raw("\0\0\1\0\1\101\0", 7);
        sleep_for_ever();
    }
    if (strcmp(how, "version") == 0)
        send_raw("\0\0\0\6\1\102\0\0\0\1", 10);
    if (strcmp(how, "wrong-id") == 0)
        send_answer(frame->id + 1000, "x");
    if (strcmp(how, "zero-id") == 0)
        send_answer(0, "x");
    if (strcmp(how, "pong") == 0) {
        dmsg_frame_put(&channel.out, DMSG_FRAME_PONG, 12345, (struct dmsg_span){NULL, 0});
        send_all();
    }
    if (strcmp(how, "asks") == 0) {
        dmsg_frame_put(&channel.out, DMSG_FRAME_ASK, 1, dmsg_span_text("a.example"));
        send_all();
    }
    if (strcmp(how, "malformed") == 0) {
        dmsg_frame_put(&channel.out, DMSG_FRAME_ANSWER, frame->id, dmsg_span_text("nothing good"));
        send_all();
    }
    if (strncmp(how, "sandbox ", 8) == 0) {
        const char *body = how + 8;
        dmsg_frame_put(&channel.out, DMSG_FRAME_CONFINED, body[0] == '!', dmsg_span_text(body));
        if (body[0] == '\2')
            dmsg_frame_put(&channel.out, DMSG_FRAME_CONFINED, 0, dmsg_span_text(body));
        send_all();
    }
    if (strcmp(how, "trouble") == 0) {
        dmsg_frame_put(&channel.out, DMSG_FRAME_TROUBLE, 0, dmsg_span_text("has a \x1b[31m cold"));
        send_all();
        sleep_for_ever();
    }
}

/* The name asked for is the record; "slow" names stop the process until it is told to go on, "self"
   names describe it. */
static void answer_name(const struct dmsg_frame *frame)
{
    char text[1000] = "";
    memcpy(text, frame->body.data, frame->body.size < 300 ? frame->body.size : 300);
    if (strncmp(text, "slow", 4) == 0)
        raise(SIGSTOP);
    if (strncmp(text, "self", 4) == 0)
        describe_self(text, sizeof text);
    if (strncmp(text, "pid", 3) == 0)
        snprintf(text, sizeof text, "%d", (int)getpid());
    send_answer(frame->id, text);
    if (strncmp(text, "twice", 5) == 0)
        send_answer(frame->id, text);
}

static int play(const char *how, const char *argument)
{
    struct dmsg_frame frame;
    bool set_up = false;
    dmsg_channel_init(&channel, DMSG_PROCESS_FD, 0);
    if (strcmp(how, "exit") == 0)
        return 3;
    if (strcmp(how, "deaf") == 0)
        sleep_for_ever();
    for (;;) {
        struct pollfd fd = {.fd = channel.fd, .events = POLLIN};
        (void)poll(&fd, 1, -1);
        if (dmsg_channel_read(&channel, NULL) != 1)
            return 0;
        while (dmsg_channel_take(&channel, &frame, NULL) == 1) {
            if (frame.type == DMSG_FRAME_SETUP) {
                set_up = frame.body.size > 0;
            } else if (frame.type == DMSG_FRAME_PING) {
                dmsg_frame_put(
                    &channel.out, DMSG_FRAME_PONG, frame.id, (struct dmsg_span){NULL, 0});
                send_all();
            } else if (set_up) {
                misbehave(how, argument, &frame);
                if (strcmp(how, "silent") != 0)
                    answer_name(&frame);
            }
        }
    }
}

/* ============================================================================ asking, as parent */

/* Milliseconds: longer than anything here takes on a machine under load. */
#define WAIT 120000

/* Nobody is given up for being slow; and a process that hangs is noticed soon, but so would be one
   that a busy machine keeps waiting. */
static const struct dmsg_timing patient = {
    .question = WAIT, .ping_after = 150, .ping_wait = WAIT, .pause_first = 10, .pause_most = 40};
static const struct dmsg_timing suspicious = {
    .question = WAIT, .ping_after = 150, .ping_wait = 250, .pause_first = 10, .pause_most = 40};

struct asked {
    int count;
    enum dmsg_dns_status status;
    char name[300], why[256], record[1000];
    struct dmsg_resolver *resolver; /* asks once more from within the callback, if set */
    struct asked *again;
    int nested; /* what a step from within the callback returned */
};

static void on_answer(void *user, const struct dmsg_answer *answer)
{
    struct asked *asked = user;
    asked->count++;
    asked->status = answer->status;
    snprintf(asked->name, sizeof asked->name, "%s", answer->name.text);
    snprintf(asked->why, sizeof asked->why, "%s", answer->why);
    if (answer->count > 0)
        snprintf(asked->record, sizeof asked->record, "%.*s", (int)answer->records[0].size,
            (const char *)answer->records[0].data);
    if (asked->resolver != NULL) {
        asked->nested = dmsg_resolver_step(asked->resolver, NULL);
        CHECK(
            dmsg_resolver_ask(asked->resolver, &answer->name, on_answer, asked->again, NULL) == 0);
        asked->resolver = NULL;
    }
}

static struct dmsg_resolver *start(const char *how, const char *argument)
{
    const char *const arguments[] = {"play", how, argument, NULL};
    const char *server = "127.0.0.1@1";
    struct dmsg_resolver_config config = {.servers = &server,
        .server_count = 1,
        .trust_anchor = anchor_path,
        .program = self_path,
        .program_arguments = arguments};
    struct dmsg_resolver *resolver = NULL;
    struct dmsg_error error;
    if (dmsg_resolver_new(&resolver, &config, &error) < 0) {
        printf("Bail out! %s\n", error.text);
        exit(1);
    }
    dmsg_timing_set(resolver, &patient);
    return resolver;
}

static void ask(struct dmsg_resolver *resolver, const char *text, struct asked *asked)
{
    struct dmsg_name name;
    *asked = (struct asked){0};
    CHECK(dmsg_name_parse(&name, dmsg_span_text(text), NULL) == 0);
    CHECK(dmsg_resolver_ask(resolver, &name, on_answer, asked, NULL) == 0);
}

/* Steps when the descriptor is readable, and only then; false when that is never so. */
static bool step(struct dmsg_resolver *resolver)
{
    struct pollfd fd = {.fd = dmsg_resolver_fd(resolver), .events = POLLIN};
    if (poll(&fd, 1, WAIT) != 1)
        return false;
    CHECK(dmsg_resolver_step(resolver, NULL) >= 0);
    return true;
}

/* Until it is answered; milliseconds. */
static int64_t wait_for(struct dmsg_resolver *resolver, const struct asked *asked)
{
    int64_t start = dmsg_now_ms();
    while (asked->count == 0 && step(resolver) && dmsg_now_ms() - start < 2 * WAIT)
        ;
    CHECK(asked->count > 0);
    return dmsg_now_ms() - start;
}

static char *fresh_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/danemsg-once-%d", (int)getpid());
    unlink(path);
    return path;
}

static void answers(void)
{
    struct asked first, second;
    struct dmsg_resolver *resolver = start("good", "");
    ask(resolver, "a.example", &first);
    ask(resolver, "b.example", &second);
    wait_for(resolver, &second);
    CHECK(first.count == 1 && first.status == DMSG_DNS_SECURE);
    CHECK(strcmp(first.record, "a.example") == 0 && strcmp(first.name, "a.example") == 0);
    CHECK(second.count == 1 && strcmp(second.record, "b.example") == 0);
    dmsg_resolver_free(&resolver);
    CHECK(resolver == NULL);
    dmsg_resolver_free(&resolver);
}

/* What comes twice is not delivered twice. */
static void answers_once(void)
{
    struct asked first, second;
    struct dmsg_resolver *resolver = start("good", "");
    ask(resolver, "twice.example", &first);
    wait_for(resolver, &first);
    ask(resolver, "b.example", &second);
    wait_for(resolver, &second);
    CHECK(first.count == 1 && second.count == 1 && strcmp(second.record, "b.example") == 0);
    dmsg_resolver_free(&resolver);
}

static void isolates_the_process(void)
{
    struct asked asked;
    sigset_t set;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int leak = fcntl(null, F_DUPFD, 20); /* deliberately without O_CLOEXEC */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    setenv("TEST_SECRET", "1", 1);
    struct dmsg_resolver *resolver = start("good", "");
    ask(resolver, "self.example", &asked);
    wait_for(resolver, &asked);
    CHECK_ROW(strcmp(asked.record, "fd0 fd1 fd2 fd3 ") == 0, "%s", asked.record);
    dmsg_resolver_free(&resolver);
    unsetenv("TEST_SECRET");
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    close(leak);
    close(null);
}

static void asks_again_once(void)
{
    static const char *const ways[] = {"die-once", "hang-once"};
    for (int i = 0; i < 2; i++) {
        struct asked asked;
        char *path = fresh_path();
        struct dmsg_resolver *resolver = start(ways[i], path);
        pid_t before = dmsg_process_of(resolver);
        dmsg_timing_set(resolver, &suspicious);
        ask(resolver, "a.example", &asked);
        while (dmsg_process_of(resolver) == before && step(resolver))
            ;
        dmsg_timing_set(resolver, &patient); /* with the second one */
        int64_t took = wait_for(resolver, &asked);
        CHECK_ROW(asked.count == 1 && asked.status == DMSG_DNS_SECURE, "%s", ways[i]);
        CHECK_ROW(strcmp(asked.record, "a.example") == 0, "%s", ways[i]);
        CHECK_ROW(dmsg_process_of(resolver) != before, "%s", ways[i]);
        CHECK_ROW(resolver->deaths == 0, "%s: an answer does not end the row", ways[i]);
        CHECK_ROW(kill(before, 0) < 0 && errno == ESRCH, "%s: not reaped", ways[i]);
        CHECK_ROW(took < WAIT, "%s", ways[i]);
        dmsg_resolver_free(&resolver);
        unlink(path);
    }
}

static void gives_up_after_two(void)
{
    char *path = fresh_path();
    struct stat status = {0};
    static const struct {
        const char *how, *why;
    } rows[] = {
        {"die", "went away (it ended with status 7)"},
        {"hang", "hangs (it was ended by signal 9)"},
        {"rubbish", "sent a frame that says it has 1195725856 octets"},
        {"huge", "sent a frame that says it has 2147483647 octets"},
        {"half", "hangs"},
        {"version", "two releases of danemsg are mixed"},
        {"wrong-id", "answered what was not asked"},
        {"zero-id", "answered what was not asked"},
        {"pong", "answered a ping that was not sent"},
        {"asks", "sent a frame that only it may get"},
        {"malformed", "gave a malformed answer"},
        {"trouble", "has a ?[31m cold"},
        {"exit", "went away (it ended with status 3)"},
        {"deaf", "hangs"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct asked asked;
        struct dmsg_resolver *resolver = start(rows[i].how, path);
        if (strstr(rows[i].why, "hangs") != NULL)
            dmsg_timing_set(resolver, &suspicious);
        ask(resolver, "a.example", &asked);
        int64_t took = wait_for(resolver, &asked);
        CHECK_ROW(asked.count == 1 && asked.status == DMSG_DNS_NOT_NOW, "%s", rows[i].how);
        CHECK_ROW(strstr(asked.why, rows[i].why) != NULL, "%s: %s", rows[i].how, asked.why);
        CHECK_ROW(strncmp(asked.why, "the resolver process ", 21) == 0, "%s", asked.why);
        CHECK_ROW(took < WAIT, "%s: %d ms", rows[i].how, (int)took);
        CHECK_ROW(asked.record[0] == '\0', "%s", rows[i].how);
        dmsg_resolver_free(&resolver);
    }
    CHECK(stat(path, &status) == 0 && status.st_size == 2);
    unlink(path);
}

/* One name that kills the process is given up; the others are asked again and answered. */
static void survives_poison(void)
{
    struct asked good, poison, later;
    struct dmsg_resolver *resolver = start("die-on", "");
    ask(resolver, "a.example", &good);
    ask(resolver, "poison.example", &poison);
    wait_for(resolver, &poison);
    CHECK(poison.count == 1 && poison.status == DMSG_DNS_NOT_NOW);
    CHECK(strstr(poison.why, "signal 6") != NULL);
    wait_for(resolver, &good);
    CHECK(good.count == 1 && good.status == DMSG_DNS_SECURE);
    ask(resolver, "later.example", &later);
    wait_for(resolver, &later);
    CHECK(later.status == DMSG_DNS_SECURE);
    dmsg_resolver_free(&resolver);
}

/* It lives, and answers pings, but not the question: that one is out of time, the process stays. */
static void limits_the_time(void)
{
    struct asked asked;
    struct dmsg_resolver *resolver = start("silent", "");
    pid_t before = dmsg_process_of(resolver);
    struct dmsg_timing timing = patient;
    timing.question = 1500;
    dmsg_timing_set(resolver, &timing);
    ask(resolver, "a.example", &asked);
    int64_t took = wait_for(resolver, &asked);
    CHECK(asked.count == 1 && asked.status == DMSG_DNS_NOT_NOW);
    CHECK(took >= timing.question && took < WAIT);
    CHECK(strstr(asked.why, "no answer within") != NULL);
    CHECK(dmsg_process_of(resolver) == before);
    dmsg_resolver_free(&resolver);
}

static void wait_until_stopped(pid_t pid)
{
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)pid, &info, WSTOPPED) == 0);
}

/* An answer that comes after its question was given up is dropped, and harmless. */
static void drops_late_answers(void)
{
    struct dmsg_timing hasty = patient;
    hasty.question = 100;
    struct asked slow, next;
    struct dmsg_resolver *resolver = start("good", "");
    pid_t before = dmsg_process_of(resolver);
    dmsg_timing_set(resolver, &hasty);
    ask(resolver, "slow.example", &slow);
    wait_for(resolver, &slow);
    CHECK(slow.count == 1 && slow.status == DMSG_DNS_NOT_NOW);
    wait_until_stopped(before);
    kill(before, SIGCONT); /* the answer that is too late comes before the next one */
    dmsg_timing_set(resolver, &patient);
    ask(resolver, "next.example", &next);
    wait_for(resolver, &next);
    CHECK(next.count == 1 && strcmp(next.record, "next.example") == 0);
    CHECK(slow.count == 1 && dmsg_process_of(resolver) == before);
    dmsg_resolver_free(&resolver);
}

/* Killed from outside while nothing is asked: there is a new one for the next question. */
static void restarts_when_idle(void)
{
    struct asked first, second;
    struct dmsg_resolver *resolver = start("good", "");
    ask(resolver, "pid.example", &first);
    wait_for(resolver, &first);
    kill(dmsg_process_of(resolver), SIGKILL);
    ask(resolver, "pid.example", &second);
    wait_for(resolver, &second);
    CHECK(second.count == 1 && second.status == DMSG_DNS_SECURE);
    CHECK(strcmp(first.record, second.record) != 0);
    dmsg_resolver_free(&resolver);
}

/* A process that dies at once is not started without pause, and the pause has an upper bound: else
   the last of so many would take days. */
static void pauses_between_restarts(void)
{
    struct dmsg_resolver *resolver = start("exit", "");
    int starts = 0;
    pid_t last = dmsg_process_of(resolver);
    int64_t begin = dmsg_now_ms();
    while (starts < 25 && dmsg_now_ms() - begin < WAIT) {
        int wait = dmsg_resolver_step(resolver, NULL);
        CHECK(wait >= 0 && wait <= 60000);
        if (dmsg_process_of(resolver) != last && dmsg_process_of(resolver) != 0)
            starts++;
        last = dmsg_process_of(resolver);
        struct pollfd fd = {.fd = dmsg_resolver_fd(resolver), .events = POLLIN};
        (void)poll(&fd, 1, 100);
    }
    int64_t took = dmsg_now_ms() - begin;
    CHECK_ROW(starts == 25 && took >= 700, "%d starts in %d ms", starts, (int)took);
    dmsg_resolver_free(&resolver);
}

static void bounds_the_questions(void)
{
    static struct asked asked[DMSG_QUESTIONS_MAX];
    struct asked more;
    struct dmsg_name name;
    struct dmsg_error error = {0};
    struct dmsg_resolver *resolver = start("good", "");
    for (int i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        char text[32];
        snprintf(text, sizeof text, "n%d.example", i);
        ask(resolver, text, &asked[i]);
    }
    CHECK(dmsg_name_parse(&name, dmsg_span_text("more.example"), NULL) == 0);
    CHECK(dmsg_resolver_ask(resolver, &name, on_answer, &more, &error) == DMSG_E_QUOTA);
    CHECK(error.code == DMSG_E_QUOTA);
    for (int i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        char text[32];
        snprintf(text, sizeof text, "n%d.example", i);
        wait_for(resolver, &asked[i]);
        CHECK_ROW(asked[i].count == 1 && strcmp(asked[i].record, text) == 0, "%s", text);
    }
    ask(resolver, "more.example", &more);
    wait_for(resolver, &more);
    CHECK(more.count == 1);
    dmsg_resolver_free(&resolver);
}

/* More than the socket holds, to a process that does not read: it is ended, not waited for. */
static void does_not_block(void)
{
    static struct asked asked[DMSG_QUESTIONS_MAX];
    struct dmsg_resolver *resolver = start("deaf", "");
    dmsg_timing_set(resolver, &suspicious);
    char text[254];
    memset(text, 'a', sizeof text);
    for (size_t i = 50; i < 240; i += 50)
        text[i] = '.';
    text[240] = '\0';
    for (int i = 0; i < DMSG_QUESTIONS_MAX; i++)
        ask(resolver, text, &asked[i]);
    int64_t took = wait_for(resolver, &asked[DMSG_QUESTIONS_MAX - 1]);
    for (int i = 0; i < DMSG_QUESTIONS_MAX; i++)
        CHECK_ROW(asked[i].count == 1 && asked[i].status == DMSG_DNS_NOT_NOW, "%d", i);
    CHECK(took < WAIT);
    dmsg_resolver_free(&resolver);
}

static void asks_from_a_callback(void)
{
    struct asked first, second = {0};
    struct dmsg_resolver *resolver = start("good", "");
    ask(resolver, "a.example", &first);
    first.resolver = resolver;
    first.again = &second;
    wait_for(resolver, &second);
    CHECK(first.count == 1 && second.count == 1);
    CHECK(first.nested == DMSG_E_USAGE);
    dmsg_resolver_free(&resolver);
}

static void frees_with_questions_open(void)
{
    struct asked asked;
    struct dmsg_resolver *resolver = start("silent", "");
    pid_t pid = dmsg_process_of(resolver);
    ask(resolver, "a.example", &asked);
    dmsg_resolver_free(&resolver);
    CHECK(asked.count == 0);
    CHECK(kill(pid, 0) < 0 && errno == ESRCH);
}

static void reports_what_cannot_run(void)
{
    static const struct {
        const char *program, *anchor;
        int code;
        const char *text;
    } rows[] = {
        {"/nonexistent/resolver", anchor_path, DMSG_E_LOCAL, "/nonexistent/resolver"},
        {"/tmp", anchor_path, DMSG_E_LOCAL, "/tmp"},
        {self_path, "/nonexistent/anchor", DMSG_E_LOCAL, "/nonexistent/anchor"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_resolver_config config = {
            .program = rows[i].program, .trust_anchor = rows[i].anchor};
        struct dmsg_resolver *resolver = NULL;
        struct dmsg_error error = {0};
        CHECK_ROW(dmsg_resolver_new(&resolver, &config, &error) == rows[i].code, "row %zu", i);
        CHECK_ROW(resolver == NULL && error.code == rows[i].code, "row %zu", i);
        CHECK_ROW(strstr(error.text, rows[i].text) != NULL, "row %zu: %s", i, error.text);
    }
    static const char *const many[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", NULL};
    struct dmsg_resolver_config config = {
        .program = self_path, .program_arguments = many, .trust_anchor = anchor_path};
    struct dmsg_resolver *resolver = NULL;
    CHECK(dmsg_resolver_new(&resolver, &config, NULL) == DMSG_E_USAGE && resolver == NULL);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fputs(text, file);
        fclose(file);
    }
}

/* The network changed: a process with the system's new resolvers, and no question lost. */
static void follows_the_system(void)
{
    const char *const arguments[] = {"play", "good", "", NULL};
    char *path = fresh_path();
    struct dmsg_resolver_config config = {
        .trust_anchor = anchor_path, .program = self_path, .program_arguments = arguments};
    struct dmsg_resolver *resolver = NULL;
    struct asked first, second, third;
    REQUIRE(dmsg_resolver_new(&resolver, &config, NULL) == 0);
    dmsg_timing_set(resolver, &patient);
    write_file(path, "nameserver 192.0.2.1\n");
    dmsg_system_file_set(resolver, path);
    ask(resolver, "pid.example", &first);
    wait_for(resolver, &first);
    dmsg_system_file_set(resolver, path); /* looks again although a second has not passed */
    ask(resolver, "pid.example", &second);
    wait_for(resolver, &second);
    CHECK(first.count == 1 && second.count == 1 && strcmp(first.record, second.record) == 0);
    write_file(path, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    dmsg_system_file_set(resolver, path);
    ask(resolver, "pid.example", &third);
    wait_for(resolver, &third);
    CHECK(third.count == 1 && third.status == DMSG_DNS_SECURE);
    CHECK(strcmp(third.record, second.record) != 0);
    dmsg_resolver_free(&resolver);
    unlink(path);
}

/* However often it changes: a question is asked again of each new process, and was no process's
   death. */
static void blames_no_question_for_the_system(void)
{
    const char *const arguments[] = {"play", "silent", "", NULL};
    char *path = fresh_path();
    struct dmsg_resolver_config config = {
        .trust_anchor = anchor_path, .program = self_path, .program_arguments = arguments};
    struct dmsg_resolver *resolver = NULL;
    struct asked asked[4];
    REQUIRE(dmsg_resolver_new(&resolver, &config, NULL) == 0);
    dmsg_timing_set(resolver, &patient);
    for (int i = 0; i < 4; i++) {
        char text[40];
        pid_t before = dmsg_process_of(resolver);
        snprintf(text, sizeof text, "nameserver 192.0.2.%d\n", 100 - 33 * i);
        write_file(path, text);
        dmsg_system_file_set(resolver, path);
        ask(resolver, "a.example", &asked[i]);
        while (dmsg_process_of(resolver) == before && step(resolver))
            ;
        CHECK(dmsg_process_of(resolver) != before);
    }
    CHECK(resolver->questions[0].used && resolver->questions[0].id != 0);
    CHECK_ROW(resolver->questions[0].attempts == 1, "%d", resolver->questions[0].attempts);
    dmsg_resolver_free(&resolver);
    unlink(path);
}

/* ==================================================================== the real resolver process */

static void start_real(struct dmsg_process *process)
{
    static const char *const arguments[] = {"real", NULL};
    struct dmsg_error error;
    *process = (struct dmsg_process){0};
    if (dmsg_process_start(process, self_path, arguments, &error) < 0) {
        printf("Bail out! %s\n", error.text);
        exit(1);
    }
}

/* Waits for a frame: 1, or 0 when the process closed the socket. */
static int any_frame(struct dmsg_process *process, struct dmsg_frame *frame, int timeout)
{
    int64_t end = dmsg_now_ms() + timeout;
    int found;
    while ((found = dmsg_channel_take(&process->channel, frame, NULL)) == 0) {
        struct pollfd fd = {.fd = process->channel.fd, .events = POLLIN};
        int64_t left = end - dmsg_now_ms();
        if (left <= 0 || poll(&fd, 1, (int)left) <= 0)
            return -1;
        if (dmsg_channel_read(&process->channel, NULL) != 1)
            return 0;
    }
    return found;
}

/* But for the one about its sandbox, which real_tells_of_its_sandbox is about. */
static int next_frame(struct dmsg_process *process, struct dmsg_frame *frame, int timeout)
{
    int found;
    do
        found = any_frame(process, frame, timeout);
    while (found == 1 && frame->type == DMSG_FRAME_CONFINED);
    return found;
}

static void put_setup(struct dmsg_process *process)
{
    struct dmsg_buffer body = {0};
    dmsg_setup_put(&body, DMSG_SETUP_STUB, "test.=127.0.0.1@1");
    dmsg_setup_put(&body, DMSG_SETUP_ANCHOR,
        "test. IN DS 1 13 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D");
    dmsg_frame_put(&process->channel.out, DMSG_FRAME_SETUP, 0, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
}

static void put(
    struct dmsg_process *process, enum dmsg_frame_type type, uint32_t id, const char *text)
{
    dmsg_frame_put(&process->channel.out, type, id, dmsg_span_text(text));
}

/* How a process tells of its sandbox: once, an octet, known bits; another one is replaced. */
static void sandbox_told_badly(void)
{
    static const struct {
        const char *how;
        int sandbox;
    } rows[] = {{"sandbox \1", 1}, {"sandbox \3", 3}, {"sandbox ", -1}, {"sandbox \1\1", -1},
        {"sandbox \4", -1}, {"sandbox \2", -1}, {"sandbox !", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct asked asked;
        struct dmsg_resolver *resolver = start(rows[i].how, "");
        CHECK_ROW(dmsg_resolver_sandbox(resolver) == -1, "row %zu", i);
        ask(resolver, "a.example", &asked);
        wait_for(resolver, &asked);
        bool good = rows[i].sandbox != -1;
        CHECK_ROW((asked.status == DMSG_DNS_SECURE) == good, "row %zu: %s", i, asked.why);
        CHECK_ROW(good || strstr(asked.why, "sandbox in a way that is none") != NULL, "row %zu: %s",
            i, asked.why);
        CHECK_ROW(!good || dmsg_resolver_sandbox(resolver) == rows[i].sandbox, "row %zu", i);
        dmsg_resolver_free(&resolver);
    }
}

static void real_answers_pings(void)
{
    struct dmsg_process process;
    struct dmsg_frame frame;
    start_real(&process);
    put_setup(&process);
    for (uint32_t id = 1; id <= 3; id++) {
        put(&process, DMSG_FRAME_PING, id, "");
        CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
        REQUIRE(next_frame(&process, &frame, WAIT) == 1);
        CHECK(frame.type == DMSG_FRAME_PONG && frame.id == id && frame.body.size == 0);
    }
    dmsg_process_stop(&process, NULL, 0);
}

/* Faults of the parent: the process says what, and ends. */
static void real_refuses(void)
{
    static const struct {
        const char *what;
        bool set_up;
        const char *raw; /* sent as it is, or: */
        size_t size;
        enum dmsg_frame_type type;
        uint32_t id;
        const char *body;
        const char *trouble;
    } rows[] = {
        {"ask before setup", false, NULL, 0, DMSG_FRAME_ASK, 1, "a.test", "before it was set up"},
        {"ping before setup", false, NULL, 0, DMSG_FRAME_PING, 1, "", "before it was set up"},
        {"rubbish", false, "GET / HTTP/1.0\r\n", 16, 0, 0, NULL, "gave up: a frame that says"},
        {"version", true, "\0\0\0\6\1\3\0\0\0\1", 10, 0, 0, NULL, "version 1"},
        {"no name", true, NULL, 0, DMSG_FRAME_ASK, 1, "a.test.", "no name"},
        {"capitals", true, NULL, 0, DMSG_FRAME_ASK, 1, "A.test", "no name"},
        {"empty name", true, NULL, 0, DMSG_FRAME_ASK, 1, "", "no name"},
        {"id 0", true, NULL, 0, DMSG_FRAME_ASK, 0, "a.test", "no name"},
        {"ping with a body", true, NULL, 0, DMSG_FRAME_PING, 1, "x", "pinged in a way"},
        {"ping of id 0", true, NULL, 0, DMSG_FRAME_PING, 0, "", "pinged in a way"},
        {"answer", true, NULL, 0, DMSG_FRAME_ANSWER, 1, "x", "only it may send"},
        {"second setup", true, NULL, 0, DMSG_FRAME_SETUP, 0, "", "set up twice"},
        {"setup with an id", false, NULL, 0, DMSG_FRAME_SETUP, 1, "", "set up twice"},
        {"bad setup", false, NULL, 0, DMSG_FRAME_SETUP, 0, "xyz", "a setup item that is none"},
        {"bad server", false, NULL, 0, DMSG_FRAME_SETUP, 0, "\1\0\5hello", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_process process;
        struct dmsg_frame frame;
        char text[200], how[64];
        start_real(&process);
        if (rows[i].set_up)
            put_setup(&process);
        if (rows[i].raw != NULL)
            dmsg_buffer_put(&process.channel.out, rows[i].raw, rows[i].size);
        else if (i == sizeof rows / sizeof rows[0] - 1)
            dmsg_frame_put(&process.channel.out, DMSG_FRAME_SETUP, 0,
                (struct dmsg_span){(const uint8_t *)"\1\0\5hello", 8});
        else
            put(&process, rows[i].type, rows[i].id, rows[i].body);
        CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
        int found = next_frame(&process, &frame, WAIT);
        CHECK_ROW(found == 1 && frame.type == DMSG_FRAME_TROUBLE, "%s: %d", rows[i].what, found);
        if (found == 1) {
            dmsg_printable(text, sizeof text, frame.body);
            CHECK_ROW(strstr(text, rows[i].trouble) != NULL, "%s: %s", rows[i].what, text);
            CHECK_ROW(next_frame(&process, &frame, WAIT) == 0, "%s: it goes on", rows[i].what);
        }
        dmsg_process_stop(&process, how, sizeof how);
        CHECK_ROW(strcmp(how, "it ended with status 1") == 0, "%s: %s", rows[i].what, how);
    }
}

static void real_refuses_an_id_twice(void)
{
    struct dmsg_process process;
    struct dmsg_frame frame;
    start_real(&process);
    put_setup(&process);
    put(&process, DMSG_FRAME_ASK, 5, "a.test");
    put(&process, DMSG_FRAME_ASK, 5, "b.test");
    CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
    REQUIRE(next_frame(&process, &frame, WAIT) == 1);
    CHECK(frame.type == DMSG_FRAME_TROUBLE);
    dmsg_process_stop(&process, NULL, 0);
}

/* Whatever octets a parent sends, set up or not, the process ends or waits: it never crashes. */
static void real_survives_anything(void)
{
    uint32_t seed = 7;
    for (int round = 0; round < 40; round++) {
        struct dmsg_process process;
        char how[64];
        start_real(&process);
        if (round % 2 == 0)
            put_setup(&process);
        put(&process, DMSG_FRAME_PING, 1, "");
        put(&process, DMSG_FRAME_ASK, 2, "a.test");
        struct dmsg_buffer *out = &process.channel.out;
        for (int change = 0; change < 3; change++) {
            seed = seed * 1664525 + 1013904223;
            out->data[(seed >> 8) % out->size] ^= (uint8_t)(1u << (seed >> 29));
        }
        (void)!dmsg_channel_flush(&process.channel, NULL);
        shutdown(process.channel.fd, SHUT_WR);
        struct dmsg_frame frame;
        while (next_frame(&process, &frame, WAIT) == 1)
            ;
        dmsg_process_stop(&process, how, sizeof how);
        CHECK_ROW(strcmp(how, "it ended with status 0") == 0 ||
                      strcmp(how, "it ended with status 1") == 0,
            "round %d: %s", round, how);
    }
}

static void real_ends_with_the_socket(void)
{
    struct dmsg_process process;
    int status = -1;
    start_real(&process);
    put_setup(&process);
    CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
    close(process.channel.fd);
    process.channel.fd = -1;
    CHECK(waitpid(process.pid, &status, 0) == process.pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    dmsg_channel_done(&process.channel);
}

/* The parent is killed while the process cannot run: it does not outlive it all the same. */
static void real_does_not_outlive_its_parent(void)
{
    int pipe_fds[2];
    pid_t grandchild = 0;
    REQUIRE(pipe(pipe_fds) == 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t middle = fork();
    if (middle == 0) {
        struct dmsg_process process;
        struct dmsg_frame frame;
        start_real(&process);
        put_setup(&process);
        put(&process, DMSG_FRAME_PING, 1, "");
        (void)!dmsg_channel_flush(&process.channel, NULL);
        (void)next_frame(&process, &frame, WAIT);
        kill(process.pid, SIGSTOP);
        (void)!write(pipe_fds[1], &process.pid, sizeof process.pid);
        sleep_for_ever();
    }
    CHECK(read(pipe_fds[0], &grandchild, sizeof grandchild) == sizeof grandchild);
    kill(middle, SIGKILL);
    CHECK(waitpid(middle, NULL, 0) == middle);
    int status = 0;
    CHECK(waitpid(grandchild, &status, 0) == grandchild);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static bool file_has(const char *path, const char *line)
{
    char text[256];
    bool found = false;
    FILE *file = fopen(path, "r");
    while (file != NULL && !found && fgets(text, sizeof text, file) != NULL)
        found = strncmp(text, line, strlen(line)) == 0;
    if (file != NULL)
        fclose(file);
    return found;
}

static void real_is_confined(void)
{
    struct dmsg_process process;
    struct dmsg_frame frame;
    char limits[64], status[64];
    start_real(&process);
    put_setup(&process);
    put(&process, DMSG_FRAME_PING, 1, "");
    CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
    REQUIRE(next_frame(&process, &frame, WAIT) == 1);
    snprintf(limits, sizeof limits, "/proc/%d/limits", (int)process.pid);
    snprintf(status, sizeof status, "/proc/%d/status", (int)process.pid);
    CHECK(file_has(limits, "Max core file size        0                    0 "));
    CHECK(file_has(limits, "Max file size             0                    0 "));
    CHECK(file_has(limits, "Max open files            512                  512 "));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
    CHECK(file_has(limits, "Max address space         268435456            268435456 "));
#endif
    CHECK(file_has(status, "NoNewPrivs:\t1"));
    kill(process.pid, SIGTERM); /* the parent's business */
    kill(process.pid, SIGINT);
    put(&process, DMSG_FRAME_PING, 2, "");
    CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
    CHECK(next_frame(&process, &frame, WAIT) == 1 && frame.id == 2);
    dmsg_process_stop(&process, NULL, 0);
}

/* What /proc/PID/status says of seccomp, and this kernel of Landlock, is what it tells: first of
   all, and once. */
static void real_tells_of_its_sandbox(void)
{
    struct dmsg_process process;
    struct dmsg_frame frame;
    char status[64];
    start_real(&process);
    put_setup(&process);
    put(&process, DMSG_FRAME_PING, 1, "");
    CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
    REQUIRE(any_frame(&process, &frame, WAIT) == 1);
    REQUIRE(frame.type == DMSG_FRAME_CONFINED && frame.id == 0 && frame.body.size == 1);
    unsigned told = frame.body.data[0];
    snprintf(status, sizeof status, "/proc/%d/status", (int)process.pid);
    CHECK(((told & DMSG_SANDBOX_SECCOMP) != 0) == file_has(status, "Seccomp:\t2"));
    bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) >= 1;
    CHECK(test_in_valgrind() || ((told & DMSG_SANDBOX_LANDLOCK) != 0) == landlock);
    CHECK(any_frame(&process, &frame, WAIT) == 1 && frame.type == DMSG_FRAME_PONG);
    dmsg_process_stop(&process, NULL, 0);
}

/* By hand it says what it is; without a socket there is nothing to do. */
static void real_refuses_to_run_alone(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {"danemsg-resolver", NULL};
        int fd = open("/dev/null", O_RDWR);
        dup2(fd, STDERR_FILENO);
        dup2(fd, DMSG_PROCESS_FD);
        _exit(dmsg_resolver_main(1, argv));
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/* The two together, as they are used. */
static void real_behind_the_resolver(void)
{
    const char *const arguments[] = {"real", NULL};
    const char *stub = "test=127.0.0.1@1", *server = "127.0.0.1@1";
    struct dmsg_resolver_config config = {.servers = &server,
        .server_count = 1,
        .stubs = &stub,
        .stub_count = 1,
        .trust_anchor = anchor_path,
        .program = self_path,
        .program_arguments = arguments};
    struct dmsg_resolver *resolver = NULL;
    struct asked asked;
    REQUIRE(dmsg_resolver_new(&resolver, &config, NULL) == 0);
    pid_t before = dmsg_process_of(resolver);
    ask(resolver, "a.test", &asked);
    int64_t took = wait_for(resolver, &asked);
    CHECK(asked.count == 1 && asked.status == DMSG_DNS_NOT_NOW && took < WAIT);
    CHECK_ROW(strstr(asked.why, "name servers") != NULL, "%s", asked.why);
    CHECK(dmsg_process_of(resolver) == before); /* it answered pings meanwhile */
    CHECK(dmsg_resolver_sandbox(resolver) >= 0);
    dmsg_resolver_free(&resolver);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {TEST(answers), TEST(answers_once),
        TEST(isolates_the_process), TEST(asks_again_once), TEST(gives_up_after_two),
        TEST(survives_poison), TEST(limits_the_time), TEST(drops_late_answers),
        TEST(restarts_when_idle), TEST(pauses_between_restarts), TEST(bounds_the_questions),
        TEST(does_not_block), TEST(asks_from_a_callback), TEST(frees_with_questions_open),
        TEST(reports_what_cannot_run), TEST(follows_the_system),
        TEST(blames_no_question_for_the_system), TEST(real_answers_pings), TEST(real_refuses),
        TEST(real_refuses_an_id_twice), TEST(real_survives_anything),
        TEST(real_ends_with_the_socket), TEST(real_does_not_outlive_its_parent),
        TEST(real_is_confined), TEST(real_tells_of_its_sandbox), TEST(sandbox_told_badly),
        TEST(real_refuses_to_run_alone), TEST(real_behind_the_resolver)};
    if (argc >= 4 && strcmp(argv[1], "play") == 0)
        return play(argv[2], argv[3]);
    if (argc >= 2 && strcmp(argv[1], "real") == 0)
        return dmsg_resolver_main(argc, argv);
    ssize_t size = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    int fd = mkstemp(anchor_path);
    if (size < 0 || fd < 0 ||
        write(fd, anchor_text, sizeof anchor_text - 1) != (ssize_t)sizeof anchor_text - 1)
        return 1;
    close(fd);
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    unlink(anchor_path);
    return result;
}
