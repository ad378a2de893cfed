/*
 * Messages a second through dmsg_store_accept in batches, beside bare inserts of the same octets
 * into one table by SQLite with the same settings, measured in turns in the same run; and through
 * delivery, each message marked by itself.
 *
 *     bench/store [FOLDER [MESSAGES [OCTETS]]]      (/var/tmp, 20000, 1024)
 */
#include "danemsg/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 3

static const struct dmsg_context context;
static int messages = 20000;
static size_t octets = 1024;
static char folder[200];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void insist(bool so, const char *what, const char *why)
{
    if (so)
        return;
    fprintf(stderr, "bench/store: %s: %s\n", what, why);
    exit(1);
}

static void remove_database(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[300];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* ---------------------------------------------------------------------------------- the store */

static struct dmsg_message message_of(int i)
{
    struct dmsg_message message = {.format = DMSG_FORMAT_V1,
        .kid = "0123456789012345678901234567890123456789012",
        .issued_at = time(NULL),
        .expires_at = time(NULL) + 7 * 86400,
        .content_type = "text/plain;charset=utf-8",
        .verified = true};
    char name[40];
    snprintf(name, sizeof name, "sensor%d.example.net", i % 10);
    insist(dmsg_name_parse(&message.sender, dmsg_span_text(name), NULL) == 0, "name", name);
    /* As random as an id is: where it goes in the index matters. */
    unsigned long long mixed = (unsigned long long)i * 0x9e3779b97f4a7c15ULL;
    snprintf(message.id, sizeof message.id, "%016llx%06d", mixed, i % 1000000);
    insist(dmsg_buffer_reserve(&message.payload, octets) != NULL, "memory", "none");
    memset(message.payload.data, 'x', octets);
    message.payload.size = octets;
    return message;
}

static double accept_all(struct dmsg_store *store, int batch)
{
    struct dmsg_error error;
    struct dmsg_span topic = dmsg_span_text("bob.example.net");
    double start = now();
    for (int i = 0; i < messages;) {
        insist(dmsg_store_begin(store, &error) == 0, "begin", error.text);
        for (int k = 0; k < batch && i < messages; k++, i++) {
            struct dmsg_message message = message_of(i);
            insist(dmsg_store_accept(store, &message, topic, &error) == 0, "accept", error.text);
            dmsg_buffer_done(&message.payload);
        }
        insist(dmsg_store_commit(store, &error) == 0, "commit", error.text);
    }
    return messages / (now() - start);
}

static double deliver_all(struct dmsg_store *store)
{
    struct dmsg_error error;
    struct dmsg_record record = {0};
    double start = now();
    while (dmsg_store_next(store, record.row, &record, &error) == 1)
        insist(dmsg_store_delivered(store, record.row, &error) == 0, "mark", error.text);
    return messages / (now() - start);
}

static double run_store(int batch, double *delivered)
{
    struct dmsg_store *store = NULL;
    struct dmsg_name me;
    struct dmsg_error error;
    char path[250];
    snprintf(path, sizeof path, "%s/bench.db", folder);
    insist(dmsg_name_parse(&me, dmsg_span_text("bob.example.net"), NULL) == 0, "name", "");
    insist(dmsg_store_open_sqlite(&store, &context, path, &me, &error) == 0, "open", error.text);
    double speed = accept_all(store, batch);
    *delivered = deliver_all(store);
    dmsg_store_close(&store);
    remove_database(path);
    return speed;
}

/* --------------------------------------------------------------------------- SQLite by itself */

static void execute(sqlite3 *db, const char *text)
{
    insist(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, text, sqlite3_errmsg(db));
}

static double run_bare(int batch)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    char path[250];
    snprintf(path, sizeof path, "%s/bare.db", folder);
    insist(sqlite3_open(path, &db) == SQLITE_OK, "open", sqlite3_errmsg(db));
    execute(db, "PRAGMA journal_mode = WAL");
    execute(db, "PRAGMA synchronous = FULL");
    execute(db, "CREATE TABLE kept (row INTEGER PRIMARY KEY, content BLOB)");
    insist(sqlite3_prepare_v2(db, "INSERT INTO kept (content) VALUES (?1)", -1, &insert, NULL) ==
               SQLITE_OK,
        "prepare", sqlite3_errmsg(db));
    double start = now();
    for (int i = 0; i < messages;) {
        execute(db, "BEGIN IMMEDIATE");
        for (int k = 0; k < batch && i < messages; k++, i++) {
            struct dmsg_message message = message_of(i);
            sqlite3_bind_blob64(
                insert, 1, message.payload.data, message.payload.size, SQLITE_STATIC);
            insist(sqlite3_step(insert) == SQLITE_DONE, "insert", sqlite3_errmsg(db));
            sqlite3_reset(insert);
            dmsg_buffer_done(&message.payload);
        }
        execute(db, "COMMIT");
    }
    double speed = messages / (now() - start);
    sqlite3_finalize(insert);
    sqlite3_close(db);
    remove_database(path);
    return speed;
}

int main(int argc, char **argv)
{
    static const int batches[] = {1, 20, 200, 1000};
    snprintf(folder, sizeof folder, "%s", argc > 1 ? argv[1] : "/var/tmp");
    messages = argc > 2 ? atoi(argv[2]) : messages;
    octets = argc > 3 ? (size_t)atoi(argv[3]) : octets;
    insist(messages > 0 && octets > 0, "usage", "bench/store [FOLDER [MESSAGES [OCTETS]]]");
    printf("%d messages of %zu octets in %s, best of %d rounds, messages a second\n", messages,
        octets, folder, ROUNDS);
    printf("%6s %10s %10s %7s %14s\n", "batch", "store", "SQLite", "ratio", "delivered");
    for (int i = 0; i < 4; i++) {
        double store = 0, bare = 0, delivered = 0;
        for (int round = 0; round < ROUNDS; round++) {
            double marked, speed = run_store(batches[i], &marked);
            store = speed > store ? speed : store;
            delivered = marked > delivered ? marked : delivered;
            speed = run_bare(batches[i]);
            bare = speed > bare ? speed : bare;
        }
        printf(
            "%6d %10.0f %10.0f %7.2f %14.0f\n", batches[i], store, bare, bare / store, delivered);
    }
    return 0;
}
