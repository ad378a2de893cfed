/* For tests/system/test_publish.py: reads the records at a name, waits for a line on standard
   input, then makes a given one the whole set, if nothing has changed meanwhile.

       publish_probe --rfc2136 ADDR@PORT --tsig FILE | --powerdns URL --api-key FILE NAME
   CERTIFICATE

   The certificate is in hexadecimal digits, for a record 3 0 0. */
#include "dane/publish.h"

#include <stdio.h>
#include <string.h>

static int fail(const struct dmsg_error *error)
{
    printf("%s: %s\n", dmsg_error_word(error->code), error->text);
    return 1;
}

static void put_record(struct dmsg_buffer *out, const char *digits)
{
    unsigned octet;
    dmsg_buffer_put(out, "\3\0\0", 3);
    for (; sscanf(digits, "%2x", &octet) == 1; digits += 2)
        dmsg_buffer_put_byte(out, (uint8_t)octet);
}

static int change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_span record, struct dmsg_error *error)
{
    const struct dmsg_record_set wanted = {.ttl = 60, .count = 1, .records = {record}};
    struct dmsg_record_set before;
    int result = dmsg_publisher_read(publisher, name, &before, error);
    if (result < 0)
        return result;
    printf("read\n");
    fflush(stdout);
    (void)getchar();
    result = dmsg_publisher_change(publisher, name, &before, &wanted, error);
    dmsg_record_set_done(&before);
    return result;
}

int main(int argc, char **argv)
{
    struct dmsg_publisher_config config = {0};
    struct dmsg_publisher *publisher = NULL;
    struct dmsg_buffer record = {0};
    struct dmsg_error error;
    struct dmsg_name name;
    if (argc != 7)
        return 2;
    if (strcmp(argv[1], "--rfc2136") == 0)
        config = (struct dmsg_publisher_config){.server = argv[2], .tsig_file = argv[4]};
    else
        config = (struct dmsg_publisher_config){.powerdns = argv[2], .key_file = argv[4]};
    put_record(&record, argv[6]);
    int result = dmsg_name_parse(&name, dmsg_span_text(argv[5]), &error);
    if (result == 0)
        result = dmsg_publisher_new(&publisher, &config, &error);
    if (result == 0)
        result = change(publisher, &name, dmsg_buffer_span(&record), &error);
    dmsg_publisher_free(&publisher);
    dmsg_buffer_done(&record);
    if (result < 0)
        return fail(&error);
    printf("changed\n");
    return 0;
}
