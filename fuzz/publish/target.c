/* What publishing reads from others: a TSIG key file, a signed DNS message, and the JSON of
   PowerDNS's API. A message that is found good is refused with another secret, and records that
   were read are read again from what is written for them. */
#include "target.h"

#include "dane/publish_json.h"
#include "dane/publish_tsig.h"
#include "publish/key.h"

#include <string.h>

unsigned long fuzz_accepted;

static void check_key(struct dmsg_span text)
{
    struct dmsg_tsig_key key;
    struct dmsg_error error;
    int result = dmsg_tsig_key_parse(&key, text, &error);
    if (result < 0) {
        FUZZ_ASSERT(result == DMSG_E_LOCAL && fuzz_is_printable(error.text));
        return;
    }
    fuzz_accepted++;
    size_t size = strlen(key.name);
    FUZZ_ASSERT(size > 1 && key.name[size - 1] == '.' && fuzz_is_printable(key.name));
    FUZZ_ASSERT(key.algorithm != NULL && key.secret_size >= DMSG_TSIG_SECRET_MIN &&
                key.secret_size <= DMSG_TSIG_SECRET_MAX);
}

static void check_signature(struct dmsg_span message)
{
    struct dmsg_tsig_answer answer;
    struct dmsg_tsig_key key;
    FUZZ_ASSERT(dmsg_tsig_key_parse(&key, dmsg_span_text(FUZZ_TSIG_KEY), NULL) == 0);
    int result = dmsg_tsig_verify(&answer, message, &key, FUZZ_TSIG_TIME, NULL, NULL);
    FUZZ_ASSERT((result == 0) == (message.size >= 12));
    if (result < 0 || answer.verdict != DMSG_TSIG_GOOD)
        return;
    fuzz_accepted++;
    key.secret[0] ^= 1;
    FUZZ_ASSERT(dmsg_tsig_verify(&answer, message, &key, FUZZ_TSIG_TIME, NULL, NULL) == 0);
    FUZZ_ASSERT(answer.verdict == DMSG_TSIG_WRONG);
}

/* Reading changes the text: each time a copy. */
static struct dmsg_buffer copy_of(struct dmsg_span text)
{
    struct dmsg_buffer copy = {0};
    dmsg_buffer_put_span(&copy, text);
    return copy;
}

static void check_written(const struct dmsg_record_set *set, const struct dmsg_name *name)
{
    struct dmsg_buffer text = {0};
    struct dmsg_record_set again = {0};
    dmsg_api_put_change(&text, name, set);
    FUZZ_ASSERT(dmsg_api_read_records(&again, &text, name, NULL) == 0);
    dmsg_record_set_sort(&again);
    FUZZ_ASSERT(dmsg_record_set_equal(&again, set));
    dmsg_record_set_done(&again);
    dmsg_buffer_done(&text);
}

static void check_records(struct dmsg_span text)
{
    struct dmsg_buffer copy = copy_of(text);
    struct dmsg_record_set set = {0};
    struct dmsg_name name;
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_name_parse(&name, dmsg_span_text("a.example"), NULL) == 0);
    int result = dmsg_api_read_records(&set, &copy, &name, &error);
    FUZZ_ASSERT(result == 0 || fuzz_is_printable(error.text));
    dmsg_record_set_sort(&set);
    if (result == 0 && set.count > 0) {
        fuzz_accepted++;
        check_written(&set, &name);
    }
    dmsg_record_set_done(&set);
    dmsg_buffer_done(&copy);
}

static void check_zone(struct dmsg_span text)
{
    struct dmsg_buffer copy = copy_of(text), second = copy_of(text), third = copy_of(text);
    struct dmsg_api_zone zone;
    uint32_t ttl = 0;
    if (dmsg_api_read_zone(&zone, &copy, "a.example", NULL) == 0) {
        FUZZ_ASSERT(strpbrk(zone.id, "/?#&% \"\\") == NULL && fuzz_is_printable(zone.id));
        fuzz_accepted += zone.id[0] != '\0';
    }
    FUZZ_ASSERT(dmsg_api_read_denial(&ttl, &second, "a.example", NULL) == 0 || ttl == 0);
    FUZZ_ASSERT(dmsg_api_read_error(&third).size <= text.size);
    dmsg_buffer_done(&copy);
    dmsg_buffer_done(&second);
    dmsg_buffer_done(&third);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    check_key(input);
    check_signature(input);
    check_records(input);
    check_zone(input);
    return 0;
}
