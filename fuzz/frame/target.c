/*
 * What comes over the socket from the resolver process, and what goes to it; neither side trusts
 * the other. The input is read as a stream of frames, and as the body of each kind. What is
 * accepted is written to the same octets again, and an answer is judged.
 */
#include "target.h"

#include "dane/frame.h"

#include <string.h>

unsigned long fuzz_accepted;

static int64_t fixed_now(void *user)
{
    (void)user;
    return 1700000000;
}

static const struct dmsg_context context = {.now = fixed_now};

static void check_equal(struct dmsg_buffer *written, struct dmsg_span read)
{
    FUZZ_ASSERT(!written->failed && dmsg_span_equal(dmsg_buffer_span(written), read));
    dmsg_buffer_done(written);
}

static void check_failure(int result, const struct dmsg_error *error)
{
    FUZZ_ASSERT(result == DMSG_E_FORMAT);
    FUZZ_ASSERT(fuzz_is_printable(error->text));
}

static void check_stream(struct dmsg_span input)
{
    struct dmsg_span rest = input;
    struct dmsg_frame frame;
    struct dmsg_error error;
    for (;;) {
        const struct dmsg_span before = rest;
        int result = dmsg_frame_take(&frame, &rest, &error);
        if (result < 0)
            check_failure(result, &error);
        if (result <= 0) {
            FUZZ_ASSERT(rest.data == before.data && rest.size == before.size);
            return;
        }
        struct dmsg_buffer again = {0};
        fuzz_accepted++;
        FUZZ_ASSERT(rest.data + rest.size == input.data + input.size && rest.size < before.size);
        dmsg_frame_put(&again, frame.type, frame.id, frame.body);
        check_equal(&again, (struct dmsg_span){before.data, before.size - rest.size});
    }
}

static void check_setup(struct dmsg_span body)
{
    static struct dmsg_setup_item item;
    const uint8_t *start = body.data;
    struct dmsg_buffer again = {0};
    struct dmsg_error error;
    int result;
    while ((result = dmsg_setup_take(&item, &body, &error)) == 1) {
        FUZZ_ASSERT(fuzz_is_printable(item.text) && item.text[0] != '\0');
        dmsg_setup_put(&again, item.kind, item.text);
    }
    if (result < 0)
        check_failure(result, &error);
    else
        FUZZ_ASSERT(body.size == 0);
    check_equal(&again, (struct dmsg_span){start, (size_t)(body.data - start)});
}

static void check_ask(struct dmsg_span body)
{
    struct dmsg_name name;
    struct dmsg_error error;
    int result = dmsg_ask_parse(&name, body, &error);
    if (result < 0)
        check_failure(result, &error);
    else
        FUZZ_ASSERT(dmsg_span_equal_text(body, name.text));
}

/* The keys that are chosen are usable, different from each other, and there only when all is well.
 */
static void check_choice(const struct dmsg_peer *peer)
{
    const struct dmsg_peer_key *keys[DMSG_PEER_KEYS_MAX];
    struct dmsg_error error;
    const struct dmsg_peer_key *recipient = dmsg_peer_recipient_key(peer, &error);
    FUZZ_ASSERT(recipient == NULL ||
                (recipient->key != NULL && (recipient->purposes & DMSG_FOR_ENCRYPTION) != 0));
    int count = dmsg_peer_sender_keys(peer, (struct dmsg_span){0}, keys, &error);
    FUZZ_ASSERT(count != 0 && count <= DMSG_PEER_KEYS_MAX);
    FUZZ_ASSERT((recipient == NULL && count < 0) || peer->status == DMSG_DNS_SECURE);
    for (int i = 0; i < count; i++) {
        FUZZ_ASSERT(keys[i]->key != NULL && (keys[i]->purposes & DMSG_FOR_SIGNATURES) != 0);
        for (int j = 0; j < i; j++)
            FUZZ_ASSERT(strcmp(keys[i]->kid, keys[j]->kid) != 0);
    }
}

static void check_records(const struct dmsg_answer *answer)
{
    FUZZ_ASSERT(answer->count <= DMSG_ANSWER_RECORDS_MAX && fuzz_is_printable(answer->why));
    FUZZ_ASSERT(answer->count == 0 || (!answer->nxdomain && answer->status != DMSG_DNS_NOT_NOW));
    for (size_t i = 0; i < answer->count; i++) {
        FUZZ_ASSERT(answer->records[i].size > 0 && answer->records[i].size <= DMSG_TLSA_RDATA_MAX);
        FUZZ_ASSERT(i == 0 || !dmsg_span_equal(answer->records[i - 1], answer->records[i]));
    }
}

static void check_answer(struct dmsg_span body)
{
    static struct dmsg_answer answer, second;
    const struct dmsg_peer *peer;
    struct dmsg_buffer again = {0};
    struct dmsg_name name;
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_name_parse(&name, dmsg_span_text("alice.example"), &error) == 0);
    int result = dmsg_answer_parse(&answer, &name, body, &error);
    if (result < 0) {
        check_failure(result, &error);
        return;
    }
    fuzz_accepted++;
    check_records(&answer);
    dmsg_answer_put(&again, &answer);
    FUZZ_ASSERT(dmsg_answer_parse(&second, &name, dmsg_buffer_span(&again), &error) == 0);
    FUZZ_ASSERT(second.count == answer.count && second.status == answer.status &&
                second.ttl == answer.ttl && second.nxdomain == answer.nxdomain &&
                strcmp(second.why, answer.why) == 0 &&
                dmsg_name_equal(&second.canonical, &answer.canonical));
    dmsg_buffer_done(&again);
    FUZZ_ASSERT(dmsg_peer_judge(&peer, &context, NULL, &answer, &error) == 0);
    FUZZ_ASSERT(peer->count == answer.count && fuzz_is_printable(peer->why));
    FUZZ_ASSERT(peer->expires_at >= peer->fetched_at);
    check_choice(peer);
    dmsg_peer_release(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    check_stream(input);
    check_setup(input);
    check_ask(input);
    check_answer(input);
    return 0;
}
