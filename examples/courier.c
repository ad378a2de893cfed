/*
 * courier: a message from one DNS name to another with libdanemsg, and without a broker.
 *
 *     cc courier.c $(pkg-config --cflags --libs danemsg) -o courier
 *     courier seal FOLDER alice.example.net bob.example.net < letter > envelope
 *     courier open FOLDER bob.example.net < envelope > letter
 *
 * FOLDER holds keys made by `danemsg identity new`. Your own transport, a radio or a queue, takes
 * the envelope from one to the other. What a program that keeps running does besides is remember
 * the ids of the messages that it accepted, so that none counts twice: danemsg/store.h.
 *
 * For a zone that only your own name server has:
 *     DNS_STUB=example.net=192.0.2.53 TRUST_ANCHOR=example.net.ds courier ...
 * and RESOLVER names the resolver's program where it is not installed in its place.
 */
#include <danemsg/message.h>
#include <danemsg/resolver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DNS_TIMEOUT 10000 /* milliseconds */

/* What both directions need; zeroed, everything in it can be freed at any time. */
struct courier {
    struct dmsg_context context; /* zeroed: system clock, OpenSSL's generator */
    struct dmsg_discovery *discovery;
    struct dmsg_identity *me;
    const struct dmsg_peer *peer;
    struct dmsg_sealer *sealer;
    struct dmsg_opener *opener;
    struct dmsg_message message;
    struct dmsg_buffer in, out;
    struct dmsg_error error;
};

/* The resolver runs in a process of its own, which must be started before a key is read. */
static int prepare(struct courier *courier, const char *folder, const char *own_name)
{
    const char *stub = getenv("DNS_STUB");
    struct dmsg_discovery_config config = {
        .resolver.stubs = &stub,
        .resolver.stub_count = stub != NULL,
        .resolver.trust_anchor = getenv("TRUST_ANCHOR"),
        .resolver.program = getenv("RESOLVER"), /* NULL: where `meson install` puts it */
    };
    struct dmsg_name name;
    int result =
        dmsg_discovery_new(&courier->discovery, &courier->context, &config, &courier->error);
    if (result == 0)
        result = dmsg_name_parse(&name, dmsg_span_text(own_name), &courier->error);
    if (result == 0)
        result =
            dmsg_identity_load(&courier->me, &courier->context, folder, &name, &courier->error);
    return result;
}

static void done(struct courier *courier)
{
    dmsg_message_done(&courier->message);
    dmsg_buffer_done(&courier->in);
    dmsg_buffer_done(&courier->out);
    if (courier->peer != NULL)
        dmsg_peer_release(courier->peer);
    dmsg_sealer_free(&courier->sealer);
    dmsg_opener_free(&courier->opener);
    dmsg_identity_free(&courier->me);
    dmsg_discovery_free(&courier->discovery);
}

static int read_input(struct courier *courier)
{
    char chunk[4096];
    size_t size;
    courier->in.limit = DMSG_MESSAGE_SIZE_MAX;
    while ((size = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        dmsg_buffer_put(&courier->in, chunk, size);
    if (!courier->in.failed && !ferror(stdin))
        return 0;
    courier->error =
        (struct dmsg_error){DMSG_E_SIZE, "standard input cannot be read or is too long"};
    return DMSG_E_SIZE;
}

static int seal(struct courier *courier, const char *recipient)
{
    struct dmsg_name name;
    struct dmsg_seal_options options = {.recipient = &name};
    int result = dmsg_name_parse(&name, dmsg_span_text(recipient), &courier->error);
    if (result == 0)
        result = dmsg_discovery_find(
            courier->discovery, &name, DNS_TIMEOUT, &courier->peer, &courier->error);
    if (result == 0) {
        options.key = dmsg_peer_recipient_key(courier->peer, &courier->error);
        result = options.key != NULL ? 0 : courier->error.code;
    }
    if (result == 0)
        result = dmsg_sealer_new(&courier->sealer, &courier->context, courier->me, &courier->error);
    if (result == 0)
        result = read_input(courier);
    if (result == 0)
        result = dmsg_seal(courier->sealer, &options, dmsg_buffer_span(&courier->in), &courier->out,
            &courier->error);
    if (result == 0)
        fwrite(courier->out.data, 1, courier->out.size, stdout);
    return result;
}

/* Nothing is written before everything has passed. */
static int open_envelope(struct courier *courier)
{
    static const struct dmsg_policy everybody_who_verifies;
    struct dmsg_message *message = &courier->message;
    struct dmsg_span no_topic = {0};
    int result = dmsg_opener_new(
        &courier->opener, &courier->context, courier->me, &everybody_who_verifies, &courier->error);
    if (result == 0)
        result = read_input(courier);
    if (result == 0)
        result = dmsg_open_begin(
            courier->opener, dmsg_buffer_span(&courier->in), no_topic, message, &courier->error);
    if (result == 0)
        result = dmsg_discovery_find(
            courier->discovery, &message->sender, DNS_TIMEOUT, &courier->peer, &courier->error);
    if (result == 0)
        result = dmsg_open_finish(courier->opener, message, courier->peer, &courier->error);
    if (result == 0) {
        fprintf(stderr, "from %s, id %s\n", message->sender.text, message->id);
        fwrite(message->payload.data, 1, message->payload.size, stdout);
    }
    return result;
}

int main(int argc, char **argv)
{
    struct courier courier = {0};
    int result;
    bool sealing = argc == 5 && strcmp(argv[1], "seal") == 0;
    if (!sealing && (argc != 4 || strcmp(argv[1], "open") != 0)) {
        fprintf(stderr, "usage: courier seal FOLDER OWN-NAME RECIPIENT | open FOLDER OWN-NAME\n");
        return 1;
    }
    result = prepare(&courier, argv[2], argv[3]);
    if (result == 0)
        result = sealing ? seal(&courier, argv[4]) : open_envelope(&courier);
    if (result < 0)
        fprintf(stderr, "courier: %s: %s\n", dmsg_error_word(result), courier.error.text);
    if (result == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        result = DMSG_E_LOCAL;
        fprintf(stderr, "courier: the output cannot be written\n");
    }
    done(&courier);
    return dmsg_error_exit_status(result);
}
