#include "base/fail.h"
#include "service/outbox_internal.h"

#include <string.h>

int dmsg_publisher_drop(
    struct dmsg_publisher *publisher, const struct dmsg_outgoing *message, struct dmsg_error *error)
{
    struct dmsg_error why;
    const struct dmsg_name recipient = message->recipient;
    int64_t row = message->row;
    int removed = dmsg_outbox_remove(publisher->config->outbox, row, DMSG_OUTGOING_EXPIRED, error);
    if (removed != 1)
        return removed;
    publisher->state->expired++;
    (void)dmsg_fail(&why, DMSG_E_TIME, "it has expired before it could be sent, and is dropped");
    dmsg_publisher_refuse(publisher, &recipient, row, &why);
    return 0;
}

/* -------------------------------------------------------------------------------------- asking */

static void free_slot(struct dmsg_asked *asked)
{
    if (asked->peer != NULL)
        dmsg_peer_release(asked->peer);
    *asked = (struct dmsg_asked){0};
}

static void take_answer(void *user, const struct dmsg_peer *peer)
{
    struct dmsg_asked *asked = user;
    asked->peer = dmsg_peer_retain(peer);
}

/* A free slot for the name; NULL when it is asked about already, or none is free (*full). */
static struct dmsg_asked *slot_for(
    struct dmsg_publisher *publisher, const struct dmsg_name *name, bool *full)
{
    struct dmsg_asked *found = NULL;
    for (size_t i = 0; i < DMSG_OUTBOX_ASKED; i++) {
        struct dmsg_asked *asked = &publisher->asked[i];
        if (asked->name.size == 0)
            found = asked;
        else if (dmsg_name_equal(&asked->name, name))
            return NULL;
    }
    *full = found == NULL;
    return found;
}

/* What the cache says is enough when it is a key. 1: no more can be asked now. */
static int ask(
    struct dmsg_publisher *publisher, const struct dmsg_name *name, struct dmsg_error *error)
{
    struct dmsg_discovery *discovery = publisher->config->discovery;
    bool full = false;
    struct dmsg_asked *slot = slot_for(publisher, name, &full);
    if (slot == NULL)
        return full;
    slot->name = *name;
    slot->peer = dmsg_discovery_get(discovery, name);
    if (slot->peer != NULL && dmsg_peer_recipient_key(slot->peer, NULL) != NULL)
        return 0;
    if (slot->peer != NULL)
        dmsg_peer_release(slot->peer);
    slot->peer = NULL;
    int code = dmsg_discovery_ask(discovery, name, take_answer, slot, error);
    if (code < 0)
        free_slot(slot);
    return code == DMSG_E_QUOTA ? 1 : code;
}

static int ask_about_recipients(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    struct dmsg_name name;
    while (!publisher->ask_ended) {
        int code = dmsg_outbox_open_recipient(
            publisher->config->outbox, &publisher->ask_after, &name, error);
        if (code == 0)
            publisher->ask_ended = true;
        if (code == 1)
            code = ask(publisher, &name, error);
        else if (code == 0)
            return 0;
        if (code != 0)
            return code < 0 ? code : 0;
        publisher->ask_after = name;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------- sealing */

static bool is_trouble(int code)
{
    return code == DMSG_E_LOCAL || code == DMSG_E_INTERNAL;
}

/* No key: all that is open for the name waits. */
static int put_off(struct dmsg_publisher *publisher, struct dmsg_asked *asked,
    const struct dmsg_error *why, struct dmsg_error *error)
{
    struct dmsg_outbox *outbox = publisher->config->outbox;
    int code = dmsg_outbox_begin(outbox, false, error);
    if (code == 0)
        code = dmsg_outbox_fail_open(outbox, &asked->name, why, error);
    if (code == 0)
        code = dmsg_outbox_commit(outbox, error);
    if (code == 0) {
        dmsg_publisher_refuse(publisher, &asked->name, 0, why);
        publisher->times_known = false;
        free_slot(asked);
    }
    return code;
}

static int seal_one(struct dmsg_publisher *publisher, const struct dmsg_outgoing *message,
    const struct dmsg_peer_key *key, int64_t lifetime, struct dmsg_error *error)
{
    const struct dmsg_outbox_config *config = publisher->config;
    char id[DMSG_MESSAGE_ID_SIZE] = "";
    struct dmsg_error why;
    dmsg_buffer_reset(&publisher->envelope);
    int code = config->seal(config->user, message, key, lifetime, &publisher->envelope, id, &why);
    if (code == 0) {
        publisher->state->sealed++;
        return dmsg_outbox_seal(
            config->outbox, message->row, id, dmsg_buffer_span(&publisher->envelope), error);
    }
    if (is_trouble(code))
        return dmsg_fail(error, code, "%s", why.text);
    code = dmsg_outbox_give_up(config->outbox, message->row, &why, error);
    dmsg_publisher_refuse(publisher, &message->recipient, message->row, &why);
    return code;
}

/* Never more than it was given: a clock that was set back makes no message live longer, and by one
   that is not set nothing has expired. */
static int64_t life_of(const struct dmsg_publisher *publisher, const struct dmsg_outgoing *message)
{
    const struct dmsg_context *context = publisher->config->context;
    int64_t left = message->expires_at - dmsg_context_now(context);
    int64_t whole = message->expires_at - message->queued_at;
    bool is_over = left <= 0 && !dmsg_context_synchronised(context);
    return left < whole && !is_over ? left : whole;
}

/* 1: there may be more of this recipient, 0: none is left. */
static int seal_slice(struct dmsg_publisher *publisher, const struct dmsg_asked *asked,
    const struct dmsg_peer_key *key, struct dmsg_error *error)
{
    struct dmsg_outbox *outbox = publisher->config->outbox;
    struct dmsg_outgoing message;
    size_t octets = 0;
    int64_t after = 0;
    for (int i = 0; i < DMSG_OUTBOX_SLICE && octets < DMSG_OUTBOX_SLICE_OCTETS; i++) {
        int code = dmsg_outbox_open_next(outbox, &asked->name, after, &message, error);
        if (code != 1)
            return code;
        int64_t lifetime = life_of(publisher, &message);
        after = message.row;
        octets += message.content.size;
        if (lifetime > 0)
            code = seal_one(publisher, &message, key, lifetime, error);
        else
            code = dmsg_publisher_drop(publisher, &message, error);
        if (code < 0)
            return code;
    }
    return 1;
}

static int seal_answered(
    struct dmsg_publisher *publisher, struct dmsg_asked *asked, struct dmsg_error *error)
{
    const struct dmsg_outbox_config *config = publisher->config;
    struct dmsg_error why;
    const struct dmsg_peer_key *key = dmsg_peer_recipient_key(asked->peer, &why);
    publisher->state->dns_at = dmsg_context_now(config->context);
    publisher->state->dns = asked->peer->status;
    if (key == NULL)
        return put_off(publisher, asked, &why, error);
    config->will_seal(config->user);
    /* Before it leaves it is on disk: whatever happens, no second id is made. */
    int code = dmsg_outbox_begin(config->outbox, true, error);
    if (code < 0)
        return code;
    int more = seal_slice(publisher, asked, key, error);
    code = more < 0 ? more : dmsg_outbox_commit(config->outbox, error);
    if (code < 0) {
        dmsg_outbox_rollback(config->outbox);
        return code;
    }
    publisher->progress_at = dmsg_now_ms();
    dmsg_publisher_restart(publisher);
    if (more == 0)
        free_slot(asked);
    return 0;
}

int dmsg_publisher_seal(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    int code = ask_about_recipients(publisher, error);
    if (code < 0)
        return code;
    publisher->discovery_left = dmsg_discovery_step(publisher->config->discovery, error);
    if (publisher->discovery_left < 0)
        return publisher->discovery_left;
    for (size_t i = 0; code == 0 && i < DMSG_OUTBOX_ASKED; i++) {
        if (publisher->asked[i].peer != NULL)
            code = seal_answered(publisher, &publisher->asked[i], error);
    }
    return code;
}

bool dmsg_publisher_asks(const struct dmsg_publisher *publisher)
{
    for (size_t i = 0; i < DMSG_OUTBOX_ASKED; i++) {
        if (publisher->asked[i].name.size > 0)
            return true;
    }
    return !publisher->ask_ended;
}

bool dmsg_publisher_can_seal(const struct dmsg_publisher *publisher)
{
    bool room = false;
    for (size_t i = 0; i < DMSG_OUTBOX_ASKED; i++) {
        if (publisher->asked[i].peer != NULL)
            return true;
        room |= publisher->asked[i].name.size == 0;
    }
    return room && !publisher->ask_ended;
}

void dmsg_publisher_seal_done(struct dmsg_publisher *publisher)
{
    for (size_t i = 0; i < DMSG_OUTBOX_ASKED; i++) {
        struct dmsg_asked *asked = &publisher->asked[i];
        if (asked->name.size > 0 && asked->peer == NULL)
            dmsg_discovery_forget(publisher->config->discovery, &asked->name, asked);
        free_slot(asked);
    }
    dmsg_buffer_done(&publisher->envelope);
}
