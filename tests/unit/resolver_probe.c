/*
 * Asks for names and prints what was found, one JSON object a line; for trying the resolver
 * against real servers by hand and from scripts. Not installed.
 *
 *     resolver_probe [-p PROGRAM] [-s ADDR[@PORT]]... [-z ZONE=ADDR[@PORT]]... [-a ANCHORS]
 *                    [-t MILLISECONDS] [-w SECONDS] [-f] [-x] NAME...
 *
 * -f asks afresh, -w waits between names, -x: strangers chose them. A name may come several times.
 */
#include "base/utf8.h"
#include "danemsg/resolver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIST_MAX 16

struct options {
    const char *servers[LIST_MAX], *stubs[LIST_MAX];
    struct dmsg_resolver_config config;
    int timeout, wait;
    bool fresh;
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void put_keys(struct dmsg_buffer *out, const struct dmsg_peer *peer)
{
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        dmsg_buffer_format(out, "%s{\"fields\":\"%u %u %u\",\"octets\":%zu,\"purposes\":%u",
            i > 0 ? "," : "", key->usage, key->selector, key->matching_type, key->rdata.size,
            key->purposes);
        dmsg_buffer_format(out, ",\"kid\":\"%s\",\"why\":", key->kid);
        dmsg_json_put_string(out, dmsg_span_text(key->why));
        dmsg_buffer_put_text(out, "}");
    }
}

static void show(const struct dmsg_peer *peer, int64_t took)
{
    static const char *const words[] = {"secure", "insecure", "bogus", "not-now"};
    struct dmsg_buffer out = {0};
    dmsg_buffer_format(&out,
        "{\"name\":\"%s\",\"canonical\":\"%s\",\"status\":\"%s\",\"exists\":%s,\"nxdomain\":%s,"
        "\"from_cache\":%s,\"ttl\":%u,\"life\":%" PRId64 ",\"us\":%" PRId64 ",\"why\":",
        peer->name.text, peer->canonical.text, words[peer->status], peer->exists ? "true" : "false",
        peer->nxdomain ? "true" : "false", peer->from_cache ? "true" : "false", peer->ttl,
        peer->expires_at - peer->fetched_at, took);
    dmsg_json_put_string(&out, dmsg_span_text(peer->why));
    dmsg_buffer_put_text(&out, ",\"records\":[");
    put_keys(&out, peer);
    dmsg_buffer_put_text(&out, "]}");
    printf("%.*s\n", (int)out.size, (const char *)out.data);
    fflush(stdout);
    dmsg_buffer_done(&out);
}

static int look_up(struct dmsg_discovery *discovery, const struct options *options,
    const char *text, struct dmsg_error *error)
{
    struct dmsg_name name;
    const struct dmsg_peer *peer = NULL;
    int result = dmsg_name_parse(&name, dmsg_span_text(text), error);
    if (result < 0)
        return result;
    int64_t before = now_us();
    if (options->fresh)
        result = dmsg_discovery_find_fresh(discovery, &name, options->timeout, &peer, error);
    else
        result = dmsg_discovery_find(discovery, &name, options->timeout, &peer, error);
    if (result < 0)
        return result;
    show(peer, now_us() - before);
    dmsg_peer_release(peer);
    return 0;
}

static bool parse(struct options *options, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "p:s:z:a:t:w:fx")) != -1) {
        if (option == 'p')
            options->config.program = optarg;
        else if (option == 's' && options->config.server_count < LIST_MAX)
            options->servers[options->config.server_count++] = optarg;
        else if (option == 'z' && options->config.stub_count < LIST_MAX)
            options->stubs[options->config.stub_count++] = optarg;
        else if (option == 'a')
            options->config.trust_anchor = optarg;
        else if (option == 't')
            options->timeout = atoi(optarg);
        else if (option == 'w')
            options->wait = atoi(optarg);
        else if (option == 'f')
            options->fresh = true;
        else if (option == 'x')
            options->config.for_strangers = true;
        else
            return false;
    }
    options->config.servers = options->servers;
    options->config.stubs = options->stubs;
    return optind < argc;
}

int main(int argc, char **argv)
{
    struct options options = {.timeout = 15000};
    struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_error error;
    if (!parse(&options, argc, argv)) {
        fprintf(stderr, "usage: see the head of %s\n", __FILE__);
        return 1;
    }
    int result = dmsg_discovery_new(
        &discovery, &context, &(struct dmsg_discovery_config){.resolver = options.config}, &error);
    for (int i = optind; i < argc && result == 0; i++) {
        result = look_up(discovery, &options, argv[i], &error);
        if (options.wait > 0 && i + 1 < argc)
            sleep((unsigned)options.wait);
    }
    if (result < 0)
        fprintf(stderr, "%s: %s\n", dmsg_error_word(error.code), error.text);
    dmsg_discovery_free(&discovery);
    return dmsg_error_exit_status(result);
}
