#include "dane/fetch_frame.h"

#include "base/fail.h"
#include "dane/frame.h"
#include "dane/setup.h"

#include <string.h>

#define HTTPS_PORT 443

void dmsg_fetch_put(struct dmsg_buffer *body, const struct dmsg_fetch *fetch)
{
    dmsg_buffer_format(body, "%s %s", fetch->host.text, fetch->aki);
}

/* The next word of a text whose words are parted by single spaces. */
static struct dmsg_span take_word(struct dmsg_span *text)
{
    const uint8_t *space = text->size > 0 ? memchr(text->data, ' ', text->size) : NULL;
    struct dmsg_span word = *text;
    if (space == NULL) {
        *text = (struct dmsg_span){NULL, 0};
        return word;
    }
    word.size = (size_t)(space - word.data);
    text->data += word.size + 1;
    text->size -= word.size + 1;
    return word;
}

static bool aki_valid(struct dmsg_span text)
{
    if (text.size == 0 || text.size >= DMSG_AKI_TEXT || text.size % 3 != 2)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        bool hex = text.data[i] != '\0' && strchr("0123456789abcdef", text.data[i]) != NULL;
        if (i % 3 == 2 ? text.data[i] != '-' : !hex)
            return false;
    }
    return true;
}

static void copy_text(char *out, struct dmsg_span text)
{
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

int dmsg_fetch_parse(struct dmsg_fetch *out, struct dmsg_span body, struct dmsg_error *error)
{
    struct dmsg_fetch fetch = {0};
    struct dmsg_span aki = body;
    struct dmsg_span host = take_word(&aki);
    if (dmsg_name_parse(&fetch.host, host, NULL) < 0 ||
        !dmsg_span_equal_text(host, fetch.host.text) || !aki_valid(aki))
        return dmsg_fail(error, DMSG_E_FORMAT, "a fetch that is none");
    copy_text(fetch.aki, aki);
    *out = fetch;
    return 0;
}

void dmsg_fetched_put(struct dmsg_buffer *body, const struct dmsg_fetched *fetched)
{
    dmsg_buffer_put_byte(body, (uint8_t)fetched->status);
    if (fetched->status == DMSG_FETCH_CONTENT)
        dmsg_buffer_put_span(body, fetched->content);
    else
        dmsg_buffer_put_text(body, fetched->why);
}

int dmsg_fetched_parse(struct dmsg_fetched *out, struct dmsg_span body, struct dmsg_error *error)
{
    struct dmsg_fetched fetched = {0};
    if (body.size < 2 || body.data[0] > DMSG_FETCH_NOT_NOW)
        return dmsg_fail(error, DMSG_E_FORMAT, "a fetched file that is none");
    struct dmsg_span rest = {body.data + 1, body.size - 1};
    fetched.status = (enum dmsg_fetch_status)body.data[0];
    bool good = rest.size <= DMSG_FETCH_SIZE_MAX;
    if (fetched.status == DMSG_FETCH_CONTENT) {
        fetched.content = rest;
    } else {
        dmsg_printable(fetched.why, sizeof fetched.why, rest);
        good = dmsg_span_equal_text(rest, fetched.why); /* nothing was cut or replaced */
    }
    if (!good)
        return dmsg_fail(error, DMSG_E_FORMAT, "a fetched file that is none");
    *out = fetched;
    return 0;
}

/* ----------------------------------------------------------------------------------------- pins */

/* "ADDR" or "ADDR@PORT"; a link-local scope would need an interface, which is no authority's. */
static bool parse_address(struct dmsg_pin *pin, struct dmsg_span text)
{
    const uint8_t *at = text.size > 0 ? memchr(text.data, '@', text.size) : NULL;
    size_t size = at != NULL ? (size_t)(at - text.data) : text.size;
    if (!dmsg_address_valid(text) || memchr(text.data, '%', text.size) != NULL ||
        size >= sizeof pin->address)
        return false;
    copy_text(pin->address, (struct dmsg_span){text.data, size});
    pin->port = HTTPS_PORT;
    if (at != NULL) {
        unsigned port = 0;
        for (const uint8_t *digit = at + 1; digit < text.data + text.size; digit++)
            port = port * 10 + (unsigned)(*digit - '0');
        pin->port = (uint16_t)port; /* dmsg_address_valid has looked */
    }
    return true;
}

int dmsg_pins_add(struct dmsg_pins *pins, struct dmsg_span text, struct dmsg_error *error)
{
    struct dmsg_pin pin;
    const uint8_t *equals = text.size > 0 ? memchr(text.data, '=', text.size) : NULL;
    size_t host = equals != NULL ? (size_t)(equals - text.data) : 0;
    if (equals == NULL ||
        !parse_address(&pin, (struct dmsg_span){equals + 1, text.size - host - 1}) ||
        dmsg_name_parse(&pin.host, (struct dmsg_span){text.data, host}, NULL) < 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "'%.*s' is no authority: write HOST=ADDR or HOST=ADDR@PORT, with a numeric address",
            (int)text.size, (const char *)text.data);
    if (pins->count == DMSG_PINS_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "more than %d authorities", DMSG_PINS_MAX);
    pins->pins[pins->count++] = pin;
    return 0;
}

void dmsg_pins_put(struct dmsg_buffer *body, const struct dmsg_pins *pins)
{
    for (size_t i = 0; i < pins->count; i++)
        dmsg_buffer_format(body, "%s%s=%s@%u", i > 0 ? " " : "", pins->pins[i].host.text,
            pins->pins[i].address, pins->pins[i].port);
}

int dmsg_pins_parse(struct dmsg_pins *out, struct dmsg_span body, struct dmsg_error *error)
{
    struct dmsg_pins pins = {0};
    while (body.size > 0) {
        if (dmsg_pins_add(&pins, take_word(&body), NULL) < 0)
            return dmsg_fail(error, DMSG_E_FORMAT, "a setup that is none");
    }
    *out = pins;
    return 0;
}
