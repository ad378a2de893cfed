/*
 * A receiver's whole decision with fixed keys and a fixed clock. Each input is read as an envelope
 * (steps 1 to 6), and as what was inside of one (dmsg_open_resume, steps 4 to 6), for no mutation
 * gets past the tag. Then the signature (step 9). An input that begins like JSON is also read as
 * the header of either, which is encoded here, for few mutations of base64url make sense.
 *
 * Whatever comes, the only payload that is ever shown is the one that alice signed to be shown.
 */
#include "target.h"

#include "base/base64url.h"
#include "parties.h"

#include <string.h>

unsigned long fuzz_accepted;

static struct {
    bool ready;
    struct fuzz_parties parties;
    struct dmsg_pattern allowed, poc;
    struct dmsg_policy policy;
    struct dmsg_opener *opener;
    struct dmsg_message message;
} world;

static void parse_pattern(struct dmsg_pattern *pattern, const char *text)
{
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_pattern_parse(pattern, dmsg_span_text(text), &error) == 0);
}

/* Lives as long as the process. */
static void make_world(void)
{
    struct dmsg_error error;
    if (world.ready)
        return;
    fuzz_parties_init(&world.parties);
    parse_pattern(&world.allowed, "*.device.example");
    parse_pattern(&world.poc, FUZZ_ALICE);
    world.policy = (struct dmsg_policy){
        .allow = &world.allowed, .allow_count = 1, .accept_poc = &world.poc, .accept_poc_count = 1};
    FUZZ_ASSERT(dmsg_opener_new(&world.opener, &world.parties.context, world.parties.bob,
                    &world.policy, &error) == 0);
    world.ready = true;
}

/* The words of steps 1 to 6; above all not `internal`. */
static bool is_refusal(int code)
{
    static const int codes[] = {DMSG_E_SIZE, DMSG_E_FORMAT, DMSG_E_ALGORITHM, DMSG_E_NOT_FOR_ME,
        DMSG_E_DECRYPT, DMSG_E_NAME, DMSG_E_POLICY, DMSG_E_UNBOUND, DMSG_E_AUDIENCE, DMSG_E_TIME};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] == code)
            return true;
    }
    return false;
}

static void check_refused(int code, const struct dmsg_error *error)
{
    const struct dmsg_message *message = &world.message;
    FUZZ_ASSERT(is_refusal(code) && error->code == code);
    FUZZ_ASSERT(fuzz_is_printable(error->text));
    FUZZ_ASSERT(message->jws.size == 0 && message->payload.size == 0 && !message->verified);
}

static bool is_base64url(const char *text, size_t octets)
{
    uint8_t decoded[64];
    return strlen(text) == dmsg_base64url_encoded_size(octets) &&
           dmsg_base64url_decode(decoded, dmsg_span_text(text)) == (long)octets;
}

/* What a message claims is in canonical form, and within what this receiver allows. */
static void check_claims(void)
{
    const struct dmsg_message *message = &world.message;
    struct dmsg_name again;
    FUZZ_ASSERT(message->jws.size > 0 && message->payload.size == 0 && !message->verified);
    FUZZ_ASSERT(dmsg_name_parse(&again, dmsg_span_text(message->sender.text), NULL) == 0);
    FUZZ_ASSERT(dmsg_name_equal(&again, &message->sender));
    FUZZ_ASSERT(dmsg_pattern_match(&world.allowed, &message->sender));
    FUZZ_ASSERT(fuzz_is_printable(message->content_type));
    if (message->format == DMSG_FORMAT_POC) {
        FUZZ_ASSERT(dmsg_name_equal(&message->sender, &world.parties.alice_name));
        FUZZ_ASSERT(message->recipient.size == 0 && message->kid[0] == '\0');
        FUZZ_ASSERT(message->issued_at == 0 && message->expires_at == 0);
        return;
    }
    FUZZ_ASSERT(is_base64url(message->id, 16) && is_base64url(message->kid, 32));
    FUZZ_ASSERT(dmsg_name_equal(&message->recipient, &world.parties.bob_name));
    FUZZ_ASSERT(message->issued_at <= FUZZ_NOW + DMSG_CLOCK_SKEW);
    FUZZ_ASSERT(message->expires_at > FUZZ_NOW && !message->early);
    FUZZ_ASSERT(message->expires_at - message->issued_at <= DMSG_LIFE_MAX);
}

static void check_verification(void)
{
    struct dmsg_message *message = &world.message;
    struct dmsg_error error;
    if (!dmsg_name_equal(&message->sender, &world.parties.alice_name))
        return; /* allowed to write, but nobody here knows the keys */
    int result = dmsg_open_finish(world.opener, message, world.parties.alice, &error);
    FUZZ_ASSERT(message->verified == (result == 0));
    if (result == 0) {
        fuzz_accepted++;
        FUZZ_ASSERT(dmsg_span_equal_text(dmsg_buffer_span(&message->payload), FUZZ_GOOD));
        return;
    }
    FUZZ_ASSERT(message->payload.size == 0 && fuzz_is_printable(error.text));
    FUZZ_ASSERT(result == DMSG_E_SIGNATURE || result == DMSG_E_CERTIFICATE ||
                result == DMSG_E_ALGORITHM || result == DMSG_E_FORMAT);
}

static void check(int result, const struct dmsg_error *error)
{
    if (result < 0) {
        check_refused(result, error);
        return;
    }
    check_claims();
    check_verification();
}

/* ------------------------------------------------------------------------------- as a header */

static bool contains(struct dmsg_span text, const char *word)
{
    return memmem(text.data, text.size, word, strlen(word)) != NULL;
}

static void put_zeros(struct dmsg_buffer *out, size_t octets)
{
    static const uint8_t zeros[256];
    dmsg_buffer_put_byte(out, '.');
    dmsg_base64url_put(out, (struct dmsg_span){zeros, octets});
}

/* Parts of the sizes that its algorithms want, so that all but the tag is right. */
static void check_jwe_header(struct dmsg_span header, struct dmsg_span topic)
{
    bool rsa = contains(header, "\"RSA-OAEP-256\""), cbc = contains(header, "\"A256CBC-HS512\"");
    struct dmsg_buffer jwe = {0};
    struct dmsg_error error;
    dmsg_base64url_put(&jwe, header);
    put_zeros(&jwe, rsa ? 256 : cbc ? 72 : 40);
    put_zeros(&jwe, cbc ? 16 : 12);
    put_zeros(&jwe, 32);
    put_zeros(&jwe, cbc ? 32 : 16);
    int result =
        dmsg_open_begin(world.opener, dmsg_buffer_span(&jwe), topic, &world.message, &error);
    FUZZ_ASSERT(result < 0);
    check_refused(result, &error);
    dmsg_buffer_done(&jwe);
}

static void check_jws_header(struct dmsg_span header, struct dmsg_span topic)
{
    struct dmsg_buffer jws = {0};
    struct dmsg_error error;
    dmsg_base64url_put(&jws, header);
    put_zeros(&jws, 4);
    put_zeros(&jws, contains(header, "\"RS256\"") ? 256 : 64);
    check(
        dmsg_open_resume(world.opener, dmsg_buffer_span(&jws), "id", topic, &world.message, &error),
        &error);
    FUZZ_ASSERT(!world.message.verified);
    dmsg_buffer_done(&jws);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    struct dmsg_error error;
    make_world();
    const struct dmsg_span topic = dmsg_span_text(world.parties.bob_name.text);
    check(dmsg_open_begin(world.opener, input, topic, &world.message, &error), &error);
    if (size <= DMSG_MESSAGE_SIZE_MAX)
        check(dmsg_open_resume(world.opener, input, "id", topic, &world.message, &error), &error);
    if (size > 0 && data[0] == '{') {
        check_jwe_header(input, topic);
        check_jws_header(input, topic);
    }
    return 0;
}
