/*
 * danemsg: one program, one table of commands. Reached by its own name with a command, or by the
 * name of a link (the proof of concept's programs).
 */
#include "base/fail.h"
#include "command.h"
#include "commands.h"
#include "common.h"
#include "doctor_hint.h"
#include "help.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Widest `two words` of a command, and the program's name before it. */
#define PROGRAM_MAX 80

const struct command *const commands[] = {
#define COMMAND(name) &cmd_##name,
    COMMANDS(COMMAND)
#undef COMMAND
        NULL};

/* Keys are in this memory: it is neither dumped nor read by others of the same user. */
static void protect_process(void)
{
    static const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak check traces its own process */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    /* A descriptor that is closed would be given to a socket or a database. What cannot be read
       is no empty message, and what cannot be written is not delivered: both stay errors. */
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            _exit(dmsg_error_exit_status(DMSG_E_INTERNAL));
    }
    umask(077);
    /* What a TPM's library has to say is in our errors; it would print more of it. */
    (void)setenv("TSS2_LOG", "all+none", 0);
    signal(SIGPIPE, SIG_IGN);
}

/* A command of one word or two: how many of argv it takes, 0 for none. */
static int match(const struct command *command, int argc, char **argv)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space != NULL ? (size_t)(space - command->name) : strlen(command->name);
    if (command->link || argc < 2 || strlen(argv[1]) != first ||
        strncmp(argv[1], command->name, first) != 0)
        return 0;
    if (space == NULL)
        return 1;
    return argc > 2 && strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

/* The proof of concept's names, with or without ".py". */
static const struct command *find_link(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    for (size_t i = 0; commands[i] != NULL; i++) {
        size_t size = strlen(commands[i]->name);
        if (commands[i]->link && strncmp(commands[i]->name, name, size) == 0 &&
            (name[size] == '\0' || strcmp(name + size, ".py") == 0))
            return commands[i];
    }
    return NULL;
}

static int run(const struct command *command, const char *program, int argc, char **argv)
{
    struct dmsg_error error = {0};
    struct invocation self = {.command = command, .program = program};
    enum help help = HELP_NONE;
    self.options = calloc(1, command->size > 0 ? command->size : 1);
    if (self.options != NULL && command->defaults != NULL)
        memcpy(self.options, command->defaults, command->size);
    int result = self.options == NULL ? dmsg_fail_memory(&error)
                                      : options_parse(&self, argc, argv, &help, &error);
    if (result == 0 && help != HELP_NONE) {
        result = help_command(command, help == HELP_ALL, &error);
    } else if (result == 0) {
        doctor_hint_begin(&self);
        result = command->run(&self, &error);
        if (result == 0) /* what printf has left in the buffer */
            result = write_output(stdout, (struct dmsg_span){0}, &error);
    }
    if (result < 0 && error.text[0] != '\0')
        print_error(program, &error);
    if (result == DMSG_E_USAGE && error.text[0] != '\0')
        fprintf(stderr, "%s: --help shows how\n", program);
    if (self.options != NULL)
        options_done(&self);
    free(self.options);
    if (command->exit_status != NULL)
        return command->exit_status(result);
    return dmsg_error_exit_status(result);
}

/* Of the program, not of a command: the exit status of what was written. */
static int said(int result, const struct dmsg_error *error)
{
    if (result < 0)
        print_error("danemsg", error);
    return dmsg_error_exit_status(result);
}

static int unknown(int argc, char **argv)
{
    struct dmsg_error error;
    if (argc < 2) {
        (void)said(help_program(stderr, NULL, &error), &error);
        return dmsg_error_exit_status(DMSG_E_USAGE);
    }
    if (strcmp(argv[1], "--version") == 0)
        return said(
            write_output(stdout, dmsg_span_text("danemsg " DMSG_VERSION "\n"), &error), &error);
    bool group = false;
    for (size_t i = 0; commands[i] != NULL; i++) {
        size_t size = strlen(argv[1]);
        group |= strncmp(commands[i]->name, argv[1], size) == 0 && commands[i]->name[size] == ' ';
    }
    bool helped = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0;
    if (helped && argc > 2 && strcmp(argv[2], "--json") == 0)
        return said(help_json(&error), &error);
    if (helped || (group && argc > 2 && strcmp(argv[2], "--help") == 0))
        return said(help_program(stdout, helped ? NULL : argv[1], &error), &error);
    if (group && argc == 2)
        print_note(
            "danemsg", "%s what? `danemsg %s --help` lists what can follow", argv[1], argv[1]);
    else
        print_note("danemsg", "there is no command '%s%s%s': `danemsg %s%s--help` lists them",
            argv[1], group ? " " : "", group ? argv[2] : "", group ? argv[1] : "",
            group ? " " : "");
    return dmsg_error_exit_status(DMSG_E_USAGE);
}

/* `danemsg help send` is `danemsg send --help`. */
static void put_help_last(int argc, char **argv)
{
    static char help[] = "--help";
    if (argc < 3 || strcmp(argv[1], "help") != 0 || strcmp(argv[2], "--json") == 0)
        return;
    memmove(argv + 1, argv + 2, (size_t)(argc - 2) * sizeof *argv);
    argv[argc - 1] = help;
}

int main(int argc, char **argv)
{
    char program[PROGRAM_MAX];
    protect_process();
    if (argc > 1 && strcmp(argv[1], RESOLVER_ARGUMENT) == 0)
        return dmsg_resolver_main(argc - 1, argv + 1);
    const struct command *link = argc > 0 ? find_link(argv[0]) : NULL;
    if (link != NULL)
        return run(link, link->name, argc, argv);
    put_help_last(argc, argv);
    for (size_t i = 0; commands[i] != NULL; i++) {
        int words = match(commands[i], argc, argv);
        if (words > 0) {
            snprintf(program, sizeof program, "danemsg %s", commands[i]->name);
            return run(commands[i], program, argc - words, argv + words);
        }
    }
    return unknown(argc, argv);
}
